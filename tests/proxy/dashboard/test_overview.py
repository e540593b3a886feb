"""The overview: what is there, what was spent, what to do next."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from accounts.shared import formats
from keys import lifecycle
from proxy.dashboard import overview
from proxy.limits import fullness
from proxy.limits.admission import Window
from proxy.usage.models import UsageRecord
from tests.factories import TierFactory, WalletFactory
from tests.proxy.factories import APIKeyFactory, LanguageModelFactory, UsageRecordFactory
from wallet import alerts
from wallet.ledger.models import Wallet

pytestmark = pytest.mark.django_db

MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)  # in Tehran
NOW = MIDNIGHT + timedelta(hours=9)
TOMAN = 10_000_000
ACCOUNT = -1


def signed_in(client: Client, wallet: Wallet, language: str = "en") -> Client:
    client.force_login(wallet.user)
    client.cookies["hamiran_language"] = language
    return client


def shown(client: Client) -> str:
    response = client.get(reverse("proxy:overview"))
    assert response.status_code == 200
    content: str = response.content.decode()
    return content


def test_today_and_the_month_are_summed_apart() -> None:
    wallet = WalletFactory.create(credit_micro=TOMAN)
    for at in (NOW, MIDNIGHT, MIDNIGHT - timedelta(seconds=1), MIDNIGHT - timedelta(days=3, seconds=1)):
        UsageRecordFactory.create(user_id=wallet.pk, created_at=at, outcome="upstream_failed")
    found = overview.load(user_id=wallet.pk, now=NOW, month_start=date(2026, 11, 18))
    assert (found.today.requests, found.month.requests) == (2, 3)
    assert found.month.errors == 3
    assert found.month.cost_micro == 3 * 30_000
    assert found.wallet.available_micro == TOMAN
    assert found.recent[0].record.created_at == NOW


@pytest.mark.parametrize(
    ("language", "first"),
    [("en", date(2026, 11, 1)), ("fa", date(2026, 10, 23))],
)
def test_a_month_begins_by_the_calendar_of_the_page(language: str, first: date) -> None:
    """21 November 2026 in Tehran is 30 Aban 1405, which began on 23 October."""
    assert formats.month_start(timezone.localdate(NOW), language=language) == first


def test_a_new_account_is_led_from_top_up_to_the_first_call(client: Client) -> None:
    wallet = WalletFactory.create()
    model = LanguageModelFactory.create(model_id="a-first-model")
    page = signed_in(client, wallet)
    content = shown(page)
    assert content.count("step--done") == 0
    assert "No request yet" in content
    assert model.model_id in content

    WalletFactory._meta.model.objects.filter(pk=wallet.pk).update(posted_micro=5)
    assert shown(page).count("step--done") == 1

    key = APIKeyFactory.create(user=wallet.user)
    assert shown(page).count("step--done") == 2

    UsageRecordFactory.create(user_id=wallet.pk, key_id=key.pk, created_at=timezone.now(), model="model-z")
    content = shown(page)
    assert "Three steps" not in content
    assert "model-z" in content
    assert key.name in content
    assert f"hm-…{key.last_four}" in content


def test_it_shows_the_balance_and_the_tier_with_its_limits(client: Client) -> None:
    wallet = WalletFactory.create(
        credit_micro=1_234 * TOMAN,
        user__tier=TierFactory.create(name="Gold", rpm=777, tpm=88_000, concurrency=9),
    )
    content = shown(signed_in(client, wallet))
    for expected in ("1,234 Toman", "Gold", "777", "88,000", "9 requests at once"):
        assert expected in content


# --- limits ------------------------------------------------------------------------------------------------------


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> dict[int, Window]:
    """What Valkey is to say of keys, and of an account under its id times ACCOUNT; of others, that they did nothing."""
    told: dict[int, Window] = {}
    nothing = Window(0, 0, 0)
    monkeypatch.setattr(
        fullness,
        "read",
        lambda *, user_id, key_ids: fullness.Windows(
            told.get(user_id * ACCOUNT, nothing), {key: told.get(key, nothing) for key in key_ids}
        ),
    )
    return told


def test_the_keys_that_are_nearest_to_a_limit_are_shown(client: Client, windows: dict[int, Window]) -> None:
    wallet = WalletFactory.create(user__tier=TierFactory.create(rpm=100, tpm=1_000, concurrency=10))
    keys = {name: APIKeyFactory.create(user=wallet.user, name=name) for name in ("a", "b", "c", "d")}
    revoked = APIKeyFactory.create(user=wallet.user, name="e", revoked_at=timezone.now())
    windows[keys["a"].pk] = Window(requests=5, tokens=0, running=0)
    windows[keys["b"].pk] = Window(requests=0, tokens=1_200, running=0)
    windows[keys["c"].pk] = Window(requests=0, tokens=0, running=8)
    windows[revoked.pk] = Window(requests=100, tokens=0, running=0)
    found = overview.load(user_id=wallet.pk, now=timezone.now(), month_start=timezone.localdate())
    assert found.fullest is not None
    assert [(each.key and each.key.name, each.percent) for each in found.fullest] == [
        ("b", 100),
        ("c", 80),
        ("a", 5),
        (None, 0),
    ]
    content = shown(signed_in(client, wallet))
    assert "Of your 4 working keys" in content
    for expected in ("1,200 of 1,000", "8 of 10", "5 of 100"):
        assert expected in content
    assert content.count("nearly full") == 2


def test_of_a_key_with_limits_of_its_own_the_lower_ones_are_shown(windows: dict[int, Window]) -> None:
    wallet = WalletFactory.create(user__tier=TierFactory.create(rpm=100, tpm=1_000, concurrency=None))
    key = APIKeyFactory.create(user=wallet.user, rpm=8, tpm=5_000, concurrency=2)
    windows[key.pk] = Window(requests=4, tokens=10, running=1)
    found = overview.load(user_id=wallet.pk, now=timezone.now(), month_start=timezone.localdate())
    assert found.fullest is not None
    [limits, _together] = found.fullest
    assert limits.running is not None
    assert [each.limit for each in (limits.requests, limits.tokens, limits.running)] == [8, 1_000, 2]


def test_all_keys_together_have_a_ceiling_of_their_own(client: Client, windows: dict[int, Window]) -> None:
    tier = TierFactory.create(rpm=100, tpm=1_000, concurrency=2, account_factor=7)
    wallet = WalletFactory.create(user__tier=tier)
    APIKeyFactory.create(user=wallet.user)
    windows[wallet.pk * ACCOUNT] = Window(requests=350, tokens=6_300, running=3)
    found = overview.load(user_id=wallet.pk, now=timezone.now(), month_start=timezone.localdate())
    assert found.fullest is not None
    together = found.fullest[-1]
    assert together.running is not None
    assert [each.limit for each in (together.requests, together.tokens, together.running)] == [700, 7_000, 14]
    assert together.percent == 90
    content = shown(signed_in(client, wallet))
    for expected in ("All keys together: 7 times that.", "350 of 700", "6,300 of 7,000", "3 of 14"):
        assert expected in content


def test_the_playground_and_what_has_expired_are_no_working_keys(windows: dict[int, Window]) -> None:
    wallet = WalletFactory.create()
    lifecycle.session_key(user_id=wallet.pk)
    APIKeyFactory.create(user=wallet.user, expires_at=timezone.now() - timedelta(seconds=1))
    found = overview.load(user_id=wallet.pk, now=timezone.now(), month_start=timezone.localdate())
    assert (found.working_keys, found.fullest) == (0, [])


def test_a_tier_without_a_limit_on_requests_at_once_shows_none(
    client: Client, windows: dict[int, Window]
) -> None:
    wallet = WalletFactory.create(user__tier=TierFactory.create())
    APIKeyFactory.create(user=wallet.user)
    content = shown(signed_in(client, wallet))
    assert "You have 1 working key" in content
    assert "Running now" not in content


def test_without_valkey_the_page_says_so_and_shows_the_rest(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_whom: Any) -> dict[int, Window]:
        raise fullness.LimitsUnknown

    monkeypatch.setattr(fullness, "read", away)
    wallet = WalletFactory.create(credit_micro=1_234 * TOMAN)
    APIKeyFactory.create(user=wallet.user)
    content = shown(signed_in(client, wallet))
    assert "is not known at the moment" in content
    assert "1,234 Toman" in content


def test_who_has_no_key_sees_no_limits_of_keys(client: Client) -> None:
    assert "Limits right now" not in shown(signed_in(client, WalletFactory.create()))


# --- a balance that runs low -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance_micro", "hint"),
    [
        (300_000, None),
        (89_999, "about 2 days"),
        (59_999, "about 1 day."),
        (29_999, "less than a day"),
        (0, "is empty"),
    ],
)
def test_a_balance_that_will_not_last_is_pointed_out(
    client: Client, balance_micro: int, hint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "month_start", lambda day, *, language: day)
    wallet = WalletFactory.create(credit_micro=balance_micro)
    UsageRecordFactory.create(user_id=wallet.pk)
    content = shown(signed_in(client, wallet))
    assert (hint in content) if hint else ("notice--warn" not in content)


def test_a_balance_below_its_owner_s_threshold_is_pointed_out(client: Client) -> None:
    wallet = WalletFactory.create(credit_micro=50 * TOMAN)
    page = signed_in(client, wallet)
    alerts.choose(user_id=wallet.pk, threshold_micro=50 * TOMAN)
    assert "asked to be warned" not in shown(page)
    alerts.choose(user_id=wallet.pk, threshold_micro=51 * TOMAN)
    assert "asked to be warned" in shown(page)


@pytest.mark.parametrize("outcome", UsageRecord.Outcome.values)
def test_every_outcome_has_a_name_on_the_page(client: Client, outcome: str) -> None:
    wallet = WalletFactory.create()
    UsageRecordFactory.create(user_id=wallet.pk, outcome=outcome)
    with translation.override("en"):
        name = str(UsageRecord.Outcome(outcome).label)
    assert name in shown(signed_in(client, wallet))


def test_it_speaks_persian(client: Client) -> None:
    content = shown(signed_in(client, WalletFactory.create(credit_micro=1_234 * TOMAN), "fa"))
    assert 'dir="rtl"' in content
    assert "۱٬۲۳۴" in content


def test_it_asks_who_is_there(client: Client) -> None:
    assert client.get(reverse("proxy:overview")).status_code == 302


def test_it_takes_few_queries_however_much_was_used(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    wallet = WalletFactory.create()
    for _ in range(30):
        UsageRecordFactory.create(user_id=wallet.pk)
    page = signed_in(client, wallet)
    with django_assert_max_num_queries(16):
        shown(page)
