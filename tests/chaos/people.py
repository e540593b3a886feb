"""Whom the chaos is about: people with wallets, keys and sessions, and what they call: models of one upstream."""

from dataclasses import dataclass

from django.conf import settings
from django.test import Client

from accounts.models import Tier
from keys.rules import KeyRules
from proxy import own_keys
from proxy.catalogue import offers
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.idempotency import keeping
from tests.chaos.media import IMAGES, PRICES, SPEECH, TRANSCRIPTIONS
from tests.dialects import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Dialect
from tests.factories import UserFactory, WalletFactory

# What can be called, the protocol that the upstream of the model for it speaks, and how often it is. A file of sound
# takes a process of its own to be measured.
WAYS: dict[tuple[Dialect, Dialect], int] = {
    (CHAT, CHAT): 12,
    (RESPONSES, RESPONSES): 12,
    (RESPONSES, CHAT): 12,
    (MESSAGES, MESSAGES): 12,
    (MESSAGES, CHAT): 12,
    (COMPLETIONS, COMPLETIONS): 12,
    (IMAGES, IMAGES): 12,
    (SPEECH, SPEECH): 12,
    (TRANSCRIPTIONS, TRANSCRIPTIONS): 2,
}
PRICE = 10_000_000  # Rial per million tokens, in and out: a top-up pays for a few dozen requests
MAX_OUTPUT_TOKENS = 1_000
SLICE_TOKENS = 4  # every stream has more held, several times
RICH_MICRO = 10**17
POOR_MICRO = 5 * 10**11
PLAIN, POOR = 6, 3


@dataclass(frozen=True, slots=True)
class Person:
    user_id: int
    key: str
    session: str


@dataclass(frozen=True, slots=True)
class People:
    """`hot` makes half of all requests, with a key that has a budget; `poor` ones run dry and top up.

    Some of both others have their answers kept for repeats.
    """

    hot: Person
    plain: list[Person]
    poor: list[Person]

    @property
    def everybody(self) -> list[Person]:
        return [self.hot, *self.plain, *self.poor]


def model_of(protocol: str) -> str:
    return f"chaos-{protocol}"


def settle_in(upstream_url: str) -> People:
    """Makes them all, in the database of the running stack."""
    Tier.objects.update(rpm=10**6, tpm=10**9, concurrency=None)
    for protocol in dict.fromkeys(upstream.endpoint for _client, upstream in WAYS):
        offers.add_model(
            model_id=model_of(protocol),
            upstream_url=upstream_url,
            upstream_key="sk-chaos",
            price=PRICES.get(protocol, PriceQuote(PRICE, PRICE)),
            context_tokens=100_000,
            max_output_tokens=MAX_OUTPUT_TOKENS,
            protocols=[protocol],
            free_meant=protocol in PRICES,  # of tokens
        )
    in_pieces = [model_of(protocol) for protocol in PRICES]
    LanguageModel.objects.exclude(model_id__in=in_pieces).update(output_slice_tokens=SLICE_TOKENS)
    people = People(
        hot=_person(RICH_MICRO, is_capped=True),
        plain=[_person(RICH_MICRO) for _ in range(PLAIN)],
        poor=[_person(POOR_MICRO) for _ in range(POOR)],
    )
    for person in (*people.plain[::2], people.poor[0]):
        keeping.keep(user_id=person.user_id, hours=1)
    return people


def _person(credit_micro: int, *, is_capped: bool = False) -> Person:
    user = UserFactory.create()
    WalletFactory.create(user=user, credit_micro=credit_micro)
    browser = Client()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cap_micro = credit_micro if is_capped else None
    key = own_keys.create(user_id=user.pk, name="chaos", rules=KeyRules(), cap_micro=cap_micro).secret
    return Person(user.pk, key, browser.cookies[settings.SESSION_COOKIE_NAME].value)
