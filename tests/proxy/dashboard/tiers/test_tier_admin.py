"""Tiers and exceptions to them in the admin, in both languages."""

from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.utils import timezone

from accounts.models import Tier, User
from accounts.shared.formats import TEHRAN, jalali_text
from keys import lifecycle
from keys.models import LimitOverride
from proxy.catalogue.models import LanguageModel
from tests.admin_browser import admin_browser
from tests.factories import TierFactory, UserFactory
from tests.wallet.credits.test_sign_up_credit import form
from tests.wallet.test_tiers import somebody
from wallet.money import micro_from_toman

pytestmark = pytest.mark.django_db

LIST = "/admin/keys/limitoverride/"


@pytest.fixture
def browser() -> Client:
    return admin_browser()


def said(answer: Any) -> str:
    text: str = answer.content.decode()
    return text


def in_persian(browser: Client) -> Client:
    browser.cookies["hamiran_language"] = "fa"
    return browser


def test_a_day_and_the_limits_of_a_model_are_set_on_the_page_of_the_tier(browser: Client) -> None:
    tier = TierFactory.create()
    LanguageModel.objects.create(model_id="dear", context_tokens=1000, max_output_tokens=100)
    rows = {"model_limits-TOTAL_FORMS": 1, "model_limits-0-model": " dear ", "model_limits-0-rpd": 40}
    browser.post(f"/admin/accounts/tier/{tier.pk}/change/", form(tier, rpd=500, tpd=90_000, **rows))
    tier.refresh_from_db()
    assert (tier.rpd, tier.tpd) == (500, 90_000)
    limit = tier.model_limits.get()
    assert (limit.model, limit.rpd, limit.rpm) == ("dear", 40, None)
    assert LogEntry.objects.get_for_object(limit).count() == 1


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"model": "typo", "rpd": 1}, "The catalogue has no model of this name."),
        ({"model": "dear"}, "Set at least one limit for this model, or remove it."),
        ({"model": "dear", "tpm": 0}, "greater than or equal to 1"),
    ],
)
def test_a_limit_that_would_limit_nothing_is_refused(
    browser: Client, row: dict[str, Any], error: str
) -> None:
    tier = TierFactory.create()
    LanguageModel.objects.create(model_id="dear", context_tokens=1000, max_output_tokens=100)
    rows = {f"model_limits-0-{name}": value for name, value in row.items()}
    data = form(tier, **{"model_limits-TOTAL_FORMS": 1} | rows)
    assert error in said(browser.post(f"/admin/accounts/tier/{tier.pk}/change/", data))
    assert not tier.model_limits.exists()


@pytest.mark.parametrize("language", ["en", "fa"])
def test_a_new_rule_is_saved_once_the_admin_has_seen_who_would_move(browser: Client, language: str) -> None:
    browser.cookies["hamiran_language"] = language
    standard = Tier.objects.get(name="Standard")
    user = somebody(paid_in=(micro_from_toman(60_000),), days=40)
    path, before = f"/admin/accounts/tier/{standard.pk}/change/", LogEntry.objects.count()
    data = form(standard, min_lifetime_topup=50_000, min_account_age_days=30)
    page = said(browser.post(path, data))
    assert 'id="moves"' in page
    assert "<bdi>Free</bdi></td><td><bdi>Standard</bdi></td>" in page
    standard.refresh_from_db()
    assert (standard.min_account_age_days, LogEntry.objects.count()) == (0, before)
    other = data | {"min_account_age_days": 31, "confirmed_rule": f"{micro_from_toman(50_000)}:30"}
    assert 'id="moves"' in said(browser.post(path, other))  # what was confirmed is another rule
    confirmed = data | {"confirmed_rule": f"{micro_from_toman(50_000)}:30"}
    assert browser.post(path, confirmed).status_code == 302
    assert User.objects.get(pk=user.pk).tier == standard
    standard.refresh_from_db()
    assert standard.min_account_age_days == 30


def test_a_new_tier_with_a_rule_is_looked_at_before_it_exists(browser: Client) -> None:
    somebody(days=100)
    data = form(Tier(name="Loyal", rpm=5, tpm=5), min_lifetime_topup=0, min_account_age_days=90)
    page = said(browser.post("/admin/accounts/tier/add/", data))
    assert "<bdi>Loyal</bdi>" in page
    assert not Tier.objects.filter(name="Loyal").exists()


def test_a_change_that_leaves_the_rule_alone_is_saved_at_once(browser: Client) -> None:
    standard = Tier.objects.get(name="Standard")
    assert (
        browser.post(f"/admin/accounts/tier/{standard.pk}/change/", form(standard, rpm=61)).status_code == 302
    )


# --- exceptions ------------------------------------------------------------------------------------------------------


def override_form(user: User, **fields: Any) -> dict[str, Any]:
    day = timezone.localdate() + timedelta(days=3)
    usual = {
        "mobile": user.mobile,
        "last_four": "",
        "first_day": "",
        "last_day": day.isoformat(),
        "reason": "a launch",
        "rpm": 600,
        "model_limits-TOTAL_FORMS": 0,
        "model_limits-INITIAL_FORMS": 0,
    }
    return usual | fields


def test_an_exception_ends_at_the_midnight_of_its_last_day_and_says_who_set_it(browser: Client) -> None:
    user = UserFactory.create()
    assert browser.post(f"{LIST}add/", override_form(user)).status_code == 302
    override = LimitOverride.objects.get(user=user)
    end = override.ends_at.astimezone(TEHRAN)
    assert (end.date() - timezone.localdate(), end.hour, end.minute) == (timedelta(days=4), 0, 0)
    entry = LogEntry.objects.get_for_object(override).get()
    assert entry.actor == override.set_by
    page = said(in_persian(browser).get(LIST))
    assert str(override.set_by) in page
    assert "a launch" in page
    assert said(browser.get(f"{LIST}{override.pk}/change/")).count("a launch") >= 1


def test_a_last_day_by_the_jalali_calendar_and_the_limits_of_a_model_are_taken(browser: Client) -> None:
    user = UserFactory.create()
    LanguageModel.objects.create(model_id="dear", context_tokens=1000, max_output_tokens=100)
    rows = {"model_limits-TOTAL_FORMS": 1, "model_limits-0-model": "dear", "model_limits-0-tpd": 9}
    data = override_form(user, rpm="", last_day=jalali_text(timezone.now()), **rows)
    assert browser.post(f"{LIST}add/", data).status_code == 302
    override = LimitOverride.objects.get(user=user)
    assert override.model_limits.get().tpd == 9
    assert timezone.localdate(override.ends_at) == timezone.localdate() + timedelta(days=1)


def test_an_exception_of_one_key_is_found_by_its_last_four(browser: Client) -> None:
    user = UserFactory.create()
    made = lifecycle.create(user_id=user.pk, name="shop")
    assert browser.post(f"{LIST}add/", override_form(user, last_four=made.secret[-4:])).status_code == 302
    override = LimitOverride.objects.get(key_id=made.key_id)
    assert override.user is None
    assert "This account has no working key that ends so." in said(
        browser.post(f"{LIST}add/", override_form(user, last_four="####"))
    )


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"last_day": "2020-01-01"}, "This day is over. Enter today or a later one."),
        ({"last_day": ""}, "This field is required."),
        ({"first_day": "2020-01-01"}, "This day is over. Enter today or a later one."),
        ({"first_day": "2199-01-01"}, "The first day lies after the last one."),
        ({"reason": " "}, "This field is required."),
        ({"rpm": ""}, "Set at least one limit, over all models or for one of them."),
        ({"mobile": "09999999999"}, "No account has this number."),
    ],
)
def test_bad_input_is_told_and_stores_nothing(browser: Client, fields: dict[str, str], error: str) -> None:
    assert error in said(browser.post(f"{LIST}add/", override_form(UserFactory.create(), **fields)))
    assert not LimitOverride.objects.exists()


@pytest.mark.parametrize("language", ["en", "fa"])
def test_one_that_overlaps_another_is_refused_with_the_times_of_that_one(
    browser: Client, language: str
) -> None:
    user = UserFactory.create()
    browser.post(f"{LIST}add/", override_form(user))
    browser.cookies["hamiran_language"] = language
    answer = browser.post(f"{LIST}add/", override_form(user))
    assert answer.status_code == 200
    assert LimitOverride.objects.filter(user=user).count() == 1
    if language == "en":
        assert "Another exception of the same user or key holds from" in said(answer)


def test_one_is_ended_from_the_list_at_once(browser: Client) -> None:
    browser.post(f"{LIST}add/", override_form(UserFactory.create()))
    override = LimitOverride.objects.get()
    chosen = {"action": "end_now", "_selected_action": [override.pk]}
    assert "1 exception was ended." in said(browser.post(LIST, chosen, follow=True))
    override.refresh_from_db()
    assert override.ends_at <= timezone.now()
