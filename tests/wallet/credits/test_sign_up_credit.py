"""What tiers give to new accounts: set in Toman, with a second admin above a limit, and a ceiling for the day."""

import threading
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts import default_tier, opening
from accounts.models import Tier
from accounts.sms import sending
from tests.accounts.people import new_mobile
from tests.admin_browser import admin_browser
from tests.factories import TierFactory, UserFactory
from tests.wallet.test_database_rules import refused_by, sql
from wallet import integrity
from wallet.credits import sign_up_credit
from wallet.credits.models import SignUpCreditChange, SignUpCreditDay
from wallet.ledger.models import Wallet
from wallet.money import micro_from_toman

LIST = "/admin/wallet/signupcreditchange/"


def form(tier: Tier, **fields: Any) -> dict[str, Any]:
    """The page of a tier, saved with nothing changed but `fields`; None leaves one out."""
    shown = {
        "name": tier.name,
        "rpm": tier.rpm,
        "tpm": tier.tpm,
        "concurrency": tier.concurrency or "",
        "account_factor": tier.account_factor,
        "sign_up_credit": tier.sign_up_credit_micro // 10_000_000,
        "min_lifetime_topup": ""
        if tier.min_lifetime_topup_micro is None
        else tier.min_lifetime_topup_micro // 10_000_000,
        "min_account_age_days": tier.min_account_age_days,
        "is_default": "on" if tier.is_default else None,
        "model_limits-TOTAL_FORMS": 0,
        "model_limits-INITIAL_FORMS": 0,
    }
    return {name: value for name, value in (shown | fields).items() if value is not None}


def save(browser: Client, tier: Tier, **fields: Any) -> Any:
    return browser.post(f"/admin/accounts/tier/{tier.pk}/change/", form(tier, **fields), follow=True)


def decide(browser: Client, change: SignUpCreditChange, action: str = "approve") -> str:
    chosen = {"action": action, "_selected_action": [str(change.pk)]}
    return browser.post(LIST, chosen, follow=True).content.decode()


def default() -> Tier:
    return Tier.objects.get(is_default=True)


# --- the form --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_credit_and_threshold_are_typed_in_toman() -> None:
    browser, tier = admin_browser(), default()
    page = browser.get(f"/admin/accounts/tier/{tier.pk}/change/").content.decode()
    assert 'value="10000"' in page
    assert "Above 50,000 Toman a second admin decides." in page
    assert "micro" not in page.lower()
    save(browser, tier, sign_up_credit="۲۰٬۰۰۰", min_lifetime_topup="0")
    tier.refresh_from_db()
    assert (tier.sign_up_credit_micro, tier.min_lifetime_topup_micro) == (micro_from_toman(20_000), 0)
    entry = LogEntry.objects.get_for_object(tier).latest("id")
    assert "sign_up_credit_micro" in entry.changes


@pytest.mark.django_db
def test_amounts_finer_than_a_toman_stay_where_nobody_changed_them() -> None:
    tier = TierFactory.create(sign_up_credit_micro=15_000_001, min_lifetime_topup_micro=123_456_789)
    assert save(admin_browser(), tier, rpm=7).status_code == 200
    tier.refresh_from_db()
    assert (tier.rpm, tier.sign_up_credit_micro, tier.min_lifetime_topup_micro) == (
        7,
        15_000_001,
        123_456_789,
    )


@pytest.mark.django_db
def test_a_threshold_that_another_tier_has_is_an_error_on_the_form() -> None:
    tier, standard = TierFactory.create(), Tier.objects.get(name="Standard")
    assert standard.min_lifetime_topup_micro is not None
    taken = str(standard.min_lifetime_topup_micro // 10_000_000)
    page = save(admin_browser(), tier, min_lifetime_topup=taken).content.decode()
    assert "Another tier is given from this amount and this age on." in page


# --- a second admin --------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_credit_above_the_limit_waits_for_another_admin() -> None:
    first, second, tier = admin_browser(), admin_browser(), default()
    said = save(first, tier, sign_up_credit="50,001", rpm=11).content.decode()
    assert "The sign-up credit of 50,001 Toman waits for the approval of a second admin." in said
    tier.refresh_from_db()
    assert (tier.sign_up_credit_micro, tier.rpm) == (micro_from_toman(10_000), 11)
    change = SignUpCreditChange.objects.get(tier=tier)
    assert "is already waiting" in save(first, tier, sign_up_credit="60,000").content.decode()
    assert "50,001 Toman" in second.get(LIST).content.decode()
    assert "another admin has to approve it" in decide(first, change)
    new = UserFactory.create(is_staff=True, is_superuser=True, empowered_at=timezone.now())
    assert "within the last 48 hours" in decide(admin_browser(new), change)
    assert default().sign_up_credit_micro == micro_from_toman(10_000)
    assert "1 request was decided." in decide(second, change)
    assert default().sign_up_credit_micro == micro_from_toman(50_001)
    assert "already been approved or rejected" in decide(second, change)
    assert LogEntry.objects.get_for_object(change).count() == 2
    save(first, default(), sign_up_credit="50,000")  # less needs nobody
    assert default().sign_up_credit_micro == micro_from_toman(50_000)


@pytest.mark.django_db
def test_a_new_tier_gives_nothing_above_the_limit_before_it_is_approved() -> None:
    browser = admin_browser()
    data = form(Tier(name="Rich", rpm=1, tpm=1), sign_up_credit="1,000,000")
    assert browser.post("/admin/accounts/tier/add/", data).status_code == 302
    tier = Tier.objects.get(name="Rich")
    assert tier.sign_up_credit_micro == 0
    decide(admin_browser(), SignUpCreditChange.objects.get(tier=tier), "reject")
    tier.refresh_from_db()
    assert tier.sign_up_credit_micro == 0


@pytest.mark.django_db
def test_changes_cannot_be_edited_deleted_or_made_past_the_tier() -> None:
    browser, tier = admin_browser(), default()
    sign_up_credit.request(tier=tier, amount_micro=10**13, admin_id=UserFactory.create().pk)
    with pytest.raises(sign_up_credit.AlreadyWaiting):
        sign_up_credit.request(tier=tier, amount_micro=10**13, admin_id=UserFactory.create().pk)
    change = SignUpCreditChange.objects.get()
    assert browser.get(f"{LIST}{change.pk}/change/").status_code == 200
    for page in (f"{change.pk}/change/", f"{change.pk}/delete/", "add/"):
        assert browser.post(LIST + page, {"post": "yes"}).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"amount_micro": 0}, "credit_change_amount_positive"),
        ({"state": "done", "decided_at": "now", "approved_by": "self"}, "credit_change_two_people"),
        ({"state": "done", "decided_at": "now"}, "credit_change_state_fits"),
        ({"state": "rejected"}, "credit_change_state_fits"),
    ],
)
def test_a_bad_change_is_refused_by_the_database(changes: dict[str, Any], rule: str) -> None:
    asker = UserFactory.create()
    fields = {"amount_micro": 5, **changes}
    if "approved_by" in fields:
        fields["approved_by"] = asker
    if "decided_at" in fields:
        fields["decided_at"] = timezone.now()
    change = SignUpCreditChange(tier=TierFactory.create(), requested_by=asker, **fields)
    assert refused_by(lambda: change.save(force_insert=True)) == rule


@pytest.mark.django_db
def test_what_was_asked_is_never_changed_and_one_waits_at_a_time() -> None:
    tier, asker = TierFactory.create(), UserFactory.create()
    change = SignUpCreditChange.objects.create(tier=tier, amount_micro=5, requested_by=asker)
    again = SignUpCreditChange(tier=tier, amount_micro=6, requested_by=asker)
    assert refused_by(again.save) == "credit_change_one_waits"
    statement = "UPDATE wallet_signupcreditchange SET amount_micro = 6 WHERE id = %s"
    assert refused_by(sql(statement, change.pk)) == "credit_change_fixed"
    assert refused_by(sql("INSERT INTO wallet_signupcreditday VALUES ('2026-01-01', -1, 0)")) == (
        "credit_day_not_negative"
    )


# --- the day's ceiling -----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_beyond_the_days_ceiling_accounts_open_without_credit_and_the_operator_is_told(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    sent: list[str] = []

    class Telephone:
        def send_text(self, *, mobile: str, text: str) -> None:
            sent.append(mobile)

    monkeypatch.setattr(sending, "provider", Telephone)
    admin = UserFactory.create(is_staff=True)
    SignUpCreditDay.objects.all().delete()
    settings.SIGN_UP_CREDIT_DAILY_MAX_TOMAN = 29_999
    with django_capture_on_commit_callbacks(execute=True):
        users = [opening.open_account(mobile=new_mobile()) for _ in range(4)]
    credits = [Wallet.objects.get(user=user).posted_micro for user in users]
    assert credits == [micro_from_toman(10_000)] * 2 + [0, 0]
    day = SignUpCreditDay.objects.get(day=timezone.localdate())
    assert (day.given_micro, day.refused) == (micro_from_toman(20_000), 2)
    assert caplog.text.count("sign_up_credit_used_up") == 2
    assert sent.count(admin.mobile) == 1
    page = admin_browser().get("/admin/wallet/signupcreditday/").content.decode()
    assert "20,000 Toman" in page
    assert not integrity.run(integrity.CHECKS)


@pytest.mark.django_db
def test_a_ceiling_of_zero_gives_nobody_credit(settings: Any) -> None:
    settings.SIGN_UP_CREDIT_DAILY_MAX_TOMAN = 0
    user = opening.open_account(mobile=new_mobile())
    assert Wallet.objects.get(user=user).posted_micro == 0


def test_the_ceiling_is_exact_where_many_sign_up_at_once(committed_db: None, settings: Any) -> None:
    given = SignUpCreditDay.objects.filter(day=timezone.localdate()).first()
    before = given.given_micro // 10_000_000 if given else 0
    credit = default().sign_up_credit_micro // 10_000_000
    settings.SIGN_UP_CREDIT_DAILY_MAX_TOMAN = before + 3 * credit
    opened: list[int] = []

    def sign_up(mobile: str) -> None:
        try:
            opened.append(opening.open_account(mobile=mobile).pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=sign_up, args=(new_mobile(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    posted = Wallet.objects.filter(pk__in=opened).values_list("posted_micro", flat=True)
    assert sorted(posted) == [0] * 5 + [micro_from_toman(credit)] * 3


# --- the tier of new accounts ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_only_default_tier_cannot_lose_its_tick() -> None:
    page = save(admin_browser(), default(), is_default=None).content.decode()
    assert "There is always one tier for new accounts." in page
    assert Tier.objects.filter(is_default=True).count() == 1


@pytest.mark.django_db
def test_choosing_another_default_tier_swaps_the_two() -> None:
    browser, old, new = admin_browser(), default(), Tier.objects.get(name="Standard")
    save(browser, new, is_default="on")
    assert default() == new
    assert LogEntry.objects.get_for_object(old).latest("id").changes == {"is_default": ["True", "False"]}
    data = form(Tier(name="Third", rpm=1, tpm=1), is_default="on")
    assert browser.post("/admin/accounts/tier/add/", data).status_code == 302
    assert default().name == "Third"


@pytest.mark.django_db
def test_the_database_refuses_to_be_without_a_default_tier() -> None:
    def at_commit(statement: str) -> Any:
        def run() -> None:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                cursor.execute("SET CONSTRAINTS tier_always_default IMMEDIATE")

        return run

    for statement in (
        "UPDATE accounts_tier SET is_default = false",
        "DELETE FROM accounts_tier WHERE is_default",
    ):
        assert refused_by(at_commit(statement)) == "tier_always_default"


def test_of_many_choices_at_once_one_tier_stays_the_default(committed_db: None) -> None:
    first, others = default(), [TierFactory.create() for _ in range(4)]

    def choose(tier: Tier) -> None:
        try:
            default_tier.choose(tier_id=tier.pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=choose, args=(tier,)) for tier in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Tier.objects.filter(is_default=True).count() == 1
    assert default() in others
    default_tier.choose(tier_id=first.pk)
    with transaction.atomic():
        assert default() == first
