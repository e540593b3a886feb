from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import Tier, User
from tests.factories import TierFactory, UserFactory, WalletFactory
from wallet import tasks, tiers
from wallet.credits import gifts
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry
from wallet.payments.models import TopUp

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def earned_tiers() -> None:
    Tier.objects.filter(min_lifetime_topup_micro__gt=0).delete()
    for threshold in (100, 1_000):
        TierFactory.create(name=f"from {threshold}", min_lifetime_topup_micro=threshold)


def somebody(*, tier: Tier | None = None, paid_in: tuple[int, ...] = (), days: int = 0) -> User:
    """Whose account is so many days old."""
    user = UserFactory.create(tier=tier) if tier else UserFactory.create()
    user.joined_at = timezone.now() - timedelta(days=days)
    user.save()
    WalletFactory.create(user=user)
    for amount_micro in paid_in:
        topup = TopUp.objects.create(
            user=user,
            gateway="sandbox",
            amount_micro=amount_micro,
            status=TopUp.Status.CREDITED,
            ref_id=uuid4().hex,
            credited_at=timezone.now(),
        )
        writer.post(
            transaction_id=topup.pk,
            kind=JournalEntry.Kind.TOPUP,
            wallet_id=user.pk,
            amount_micro=amount_micro,
            counter_account=JournalEntry.Account.GATEWAY,
        )
    return user


def tier_after(user: User) -> str:
    tasks.recompute_tiers()
    return Tier.objects.get(users=user).name


@pytest.mark.parametrize(
    ("paid_in", "tier"),
    [((), "Free"), ((99,), "Free"), ((60, 40), "from 100"), ((999,), "from 100"), ((999, 1), "from 1000")],
)
def test_the_highest_tier_that_lifetime_top_ups_reach_is_given(paid_in: tuple[int, ...], tier: str) -> None:
    assert tier_after(somebody(paid_in=paid_in)) == tier


def test_gift_credit_earns_no_tier() -> None:
    user = somebody()
    gifts.give(wallet_id=user.pk, amount_micro=5_000)
    assert tier_after(user) == "Free"


def test_a_tier_given_by_an_admin_stays() -> None:
    user = somebody(tier=TierFactory.create(name="special", min_lifetime_topup_micro=None), paid_in=(5_000,))
    assert tier_after(user) == "special"


def test_nobody_is_lowered() -> None:
    user = somebody(tier=TierFactory.create(name="top", min_lifetime_topup_micro=9_000), paid_in=(150,))
    assert tier_after(user) == "top"


def test_one_user_can_be_looked_at_alone() -> None:
    one, other = somebody(paid_in=(100,)), somebody(paid_in=(100,))
    assert tiers.recompute(user_id=one.pk) == 1
    assert tiers.recompute(user_id=one.pk) == 0
    assert Tier.objects.get(users=one).name == "from 100"
    assert Tier.objects.get(users=other).name == "Free"


@pytest.mark.parametrize(("days", "tier"), [(29, "Free"), (30, "grown"), (400, "grown")])
def test_a_tier_with_an_age_waits_for_the_account_to_be_old_enough(days: int, tier: str) -> None:
    TierFactory.create(name="grown", min_lifetime_topup_micro=50, min_account_age_days=30)
    user = somebody(paid_in=(60,), days=days)
    assert tier_after(user) == tier
    assert tiers.recompute() == 0  # twice changes nothing


def test_of_two_tiers_of_one_amount_the_one_for_older_accounts_is_higher() -> None:
    TierFactory.create(name="from 100, a year old", min_lifetime_topup_micro=100, min_account_age_days=365)
    young, old = somebody(paid_in=(100,)), somebody(paid_in=(100,), days=365)
    assert (tier_after(young), tier_after(old)) == ("from 100", "from 100, a year old")


def test_age_alone_earns_a_tier_that_asks_for_no_money() -> None:
    TierFactory.create(name="loyal", min_lifetime_topup_micro=0, min_account_age_days=90)
    assert (tier_after(somebody()), tier_after(somebody(days=90))) == ("Free", "loyal")


def test_who_would_move_is_told_by_tier_and_nothing_is_changed() -> None:
    somebody(paid_in=(60,))
    somebody(paid_in=(70,))
    tier_after(somebody(paid_in=(100,)))
    lowered = Tier.objects.get(name="from 100")

    def lower() -> None:
        Tier.objects.filter(pk=lowered.pk).update(min_lifetime_topup_micro=60)

    assert tiers.moves_after(lower) == [tiers.Move("Free", "from 100", 2)]
    lowered.refresh_from_db()
    assert lowered.min_lifetime_topup_micro == 100
    assert tiers.recompute() == 0
