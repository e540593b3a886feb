"""What an operator does from a shell: gives somebody a working key, makes tiers, reads a wallet."""

from dataclasses import dataclass, field

from django.db import transaction

from accounts.models import Tier, User
from accounts.opening import open_account
from keys import lifecycle
from keys.models import APIKey
from proxy.usage import by_key
from wallet.credits import gifts
from wallet.money import micro_from_toman
from wallet.statements.reports import WalletReport, wallet_report

CREDIT_MAX_TOMAN = 10_000_000_000  # far below what BIGINT can hold, so that it can be given again


class UnknownTier(Exception):
    """There is no tier of this name."""


class UnknownAccount(Exception):
    """Nobody has this mobile number."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key at the only moment when its secret is known, and what it can spend."""

    key: str = field(repr=False)
    mobile: str
    tier: str
    available_micro: int


@dataclass(frozen=True, slots=True)
class AccountReport:
    """A wallet beside the usage that was charged to it. The two agree where only usage was ever debited."""

    wallet: WalletReport
    usage_records: int
    usage_cost_micro: int


def issue_key(*, mobile: str, name: str, credit_toman: int, tier: str | None) -> IssuedKey:
    """A new key for an E.164 number, whose account is made where there is none. Opens a transaction: all or nothing.

    Raises UnknownTier, ValidationError (the name), ValueError (the credit), keys.lifecycle.TooManyKeys, NoNewKeys.
    """
    if not 0 <= credit_toman <= CREDIT_MAX_TOMAN:
        raise ValueError(f"The credit must be 0 to {CREDIT_MAX_TOMAN:,} Toman.")
    APIKey._meta.get_field("name").clean(name.strip(), None)
    with transaction.atomic():
        user = open_account(mobile=mobile)
        if tier is not None:
            user.tier = _tier(tier)
            user.save(update_fields=["tier"])
        if credit_toman:
            gifts.give(wallet_id=user.pk, amount_micro=micro_from_toman(credit_toman))
        created = lifecycle.create(user_id=user.pk, name=name)
        available_micro = wallet_report(user_id=user.pk).available_micro
    return IssuedKey(key=created.secret, mobile=mobile, tier=user.tier.name, available_micro=available_micro)


def set_tier(
    *, name: str, rpm: int, tpm: int, concurrency: int | None, rpd: int | None = None, tpd: int | None = None
) -> tuple[Tier, bool]:
    """Makes or changes a tier; True where it is new. What is None stays as it is. Opens a transaction.

    Raises ValidationError.
    """
    with transaction.atomic():
        tier = Tier.objects.select_for_update().filter(name=name).first() or Tier(name=name)
        is_new = tier.pk is None
        tier.rpm, tier.tpm = rpm, tpm
        for field, value in (("concurrency", concurrency), ("rpd", rpd), ("tpd", tpd)):
            if value is not None:
                setattr(tier, field, value)
        tier.full_clean()
        tier.save()
    return tier, is_new


def account_report(*, mobile: str) -> AccountReport:
    """What the account of an E.164 number has and used. Raises UnknownAccount."""
    user = User.objects.filter(mobile=mobile).first()
    if user is None:
        raise UnknownAccount(mobile)
    used = by_key.since(user_id=user.pk, start=by_key.EPOCH).values()
    return AccountReport(
        wallet=wallet_report(user_id=user.pk),
        usage_records=sum(each.requests for each in used),
        usage_cost_micro=sum(each.cost_micro for each in used),
    )


def _tier(name: str) -> Tier:
    try:
        return Tier.objects.get(name=name)
    except Tier.DoesNotExist:
        raise UnknownTier(name) from None
