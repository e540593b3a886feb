"""One factory a model. Mobile numbers are unique across the run."""

import base64
from typing import Any

import factory
from django.db import transaction
from factory.django import DjangoModelFactory

from accounts import secrets
from accounts.models import Tier, User
from accounts.signals.events import Event
from accounts.signals.models import WebhookEndpoint
from wallet.ledger.models import Wallet

# Thirty-two bytes, as webhooks are signed with.
SIGNING_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class TierFactory(DjangoModelFactory[Tier]):
    class Meta:
        model = Tier
        django_get_or_create = ("name",)

    name = factory.Sequence(lambda n: f"tier-{n}")
    rpm = 1_000_000
    tpm = 1_000_000_000


def remove_tier(user: User) -> None:
    """At the end of a test that committed it for its own user: the front page shows all there are."""
    tier, user.tier = user.tier, Tier.objects.get(is_default=True)
    user.save(update_fields=["tier"])
    tier.delete()


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    mobile = factory.Sequence(lambda n: f"+98912{n:07d}")
    tier = factory.LazyFunction(lambda: Tier.objects.get(is_default=True))


class WalletFactory(DjangoModelFactory[Wallet]):
    """A wallet with money in it: `WalletFactory(credit_micro=5_000)` books a real operator credit."""

    class Meta:
        model = Wallet
        skip_postgeneration_save = True

    user = factory.SubFactory(UserFactory)

    @factory.post_generation
    def credit_micro(self: Wallet, create: bool, extracted: int | None, **kwargs: Any) -> None:
        if extracted:
            from wallet.credits import gifts

            with transaction.atomic():
                gifts.give(wallet_id=self.pk, amount_micro=extracted)
            self.refresh_from_db()


class WebhookEndpointFactory(DjangoModelFactory[WebhookEndpoint]):
    class Meta:
        model = WebhookEndpoint

    user = factory.SubFactory(UserFactory)
    address = factory.Sequence(lambda n: f"https://hooks{n}.example.com/hamiran")
    events = factory.LazyFunction(lambda: list(Event.values))
    secret_encrypted = factory.LazyFunction(lambda: secrets.encrypt(SIGNING_SECRET))
