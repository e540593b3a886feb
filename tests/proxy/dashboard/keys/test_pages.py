import re
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.shared import formats
from keys import changes, lifecycle, reading
from keys.models import APIKey
from keys.reading import State
from keys.rules import KeyRules
from proxy import own_keys
from tests.factories import UserFactory, WalletFactory
from tests.proxy.factories import LanguageModelFactory, UsageRecordFactory
from wallet.ledger.models import Budget
from wallet.ledger.periods import Period, bounds

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    user: User = WalletFactory.create().user
    return user


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


def token_of_a_fresh_form(browser: Client) -> str:
    found = re.search(r'name="token" value="([^"]+)"', browser.get(reverse("keys:create")).text)
    assert found
    return found[1]


@pytest.mark.parametrize("name", ["keys:list", "keys:create"])
def test_strangers_are_sent_to_sign_in(client: Client, name: str) -> None:
    response = client.get(reverse(name))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("accounts:sign_in"))


def test_a_newcomer_is_told_what_to_do(browser: Client) -> None:
    page = browser.get(reverse("keys:list")).text
    assert "No key yet" in page
    assert reverse("keys:create") in page


def test_the_secret_is_shown_once_with_a_ready_env_file(browser: Client, user: User, settings: Any) -> None:
    response = browser.post(
        reverse("keys:create"), {"name": "laptop", "token": token_of_a_fresh_form(browser)}
    )
    assert response.status_code == 200
    found = re.search(r"OPENAI_API_KEY=(hm-[0-9A-Za-z]{36})\n", response.text)
    assert found
    assert f"OPENAI_BASE_URL={settings.BASE_URL}/v1" in response.text
    assert response["Cache-Control"] == "no-store"
    [key] = reading.listing(user.pk)
    assert (key.name, key.last_four) == ("laptop", found[1][-4:])
    assert found[1] not in browser.get(reverse("keys:list")).text
    assert found[1] not in browser.get(reverse("keys:create")).text
    assert found[1] not in str(dict(browser.session))


def test_sending_the_same_form_again_makes_no_second_key_and_shows_no_secret(
    browser: Client, user: User
) -> None:
    form = {"name": "laptop", "token": token_of_a_fresh_form(browser)}
    browser.post(reverse("keys:create"), form)
    again = browser.post(reverse("keys:create"), form, follow=True)
    assert again.redirect_chain == [(reverse("keys:list"), 302)]
    assert "its secret is shown only once" in again.text
    assert not re.search(r"hm-[0-9A-Za-z]{8}", again.text)
    assert len(reading.listing(user.pk)) == 1


def test_two_showings_of_the_form_make_two_keys(browser: Client, user: User) -> None:
    for _ in range(2):
        browser.post(reverse("keys:create"), {"name": "laptop", "token": token_of_a_fresh_form(browser)})
    assert len(reading.listing(user.pk)) == 2


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\0b"])
def test_a_bad_name_is_pointed_out_and_makes_no_key(browser: Client, user: User, name: str) -> None:
    response = browser.post(reverse("keys:create"), {"name": name, "token": token_of_a_fresh_form(browser)})
    assert response.status_code == 400
    assert "field__error" in response.text
    assert not reading.listing(user.pk)


def test_a_form_without_its_token_makes_no_key(browser: Client, user: User) -> None:
    assert browser.post(reverse("keys:create"), {"name": "laptop"}).status_code == 400
    assert not reading.listing(user.pk)


def test_the_limit_of_keys_is_said_plainly(
    browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 1)
    lifecycle.create(user_id=user.pk, name="first")
    response = browser.post(
        reverse("keys:create"), {"name": "second", "token": token_of_a_fresh_form(browser)}
    )
    assert response.status_code == 400
    assert "You have 1 active keys" in response.text
    assert "You have 1 active keys" in browser.get(reverse("keys:list")).text


def test_too_many_keys_in_one_day_are_refused_by_either_form(
    browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "MAX_CREATED_A_DAY", 1)
    key = make(user)
    refused = browser.post(
        reverse("keys:create"), {"name": "second", "token": token_of_a_fresh_form(browser)}
    )
    again = browser.post(reverse("keys:rotate", args=[key]), {"grace": "0", "token": "0" * 32})
    for response in (refused, again):
        assert response.status_code == 400
        assert "You have created many keys today" in response.text
    [kept] = reading.listing(user.pk)
    assert kept.state is State.WORKING


def test_a_name_is_never_markup(browser: Client, user: User) -> None:
    lifecycle.create(user_id=user.pk, name="<script>alert(1)</script>")
    assert "<script>alert" not in browser.get(reverse("keys:list")).text


def test_the_list_tells_last_use(browser: Client, user: User) -> None:
    key = lifecycle.create(user_id=user.pk, name="laptop")
    page = browser.get(reverse("keys:list")).text
    assert f"hm-…{key.last_four}" in page
    assert "never" in page
    lifecycle.touch({key.key_id: timezone.now()})
    assert "never" not in browser.get(reverse("keys:list")).text


def test_revoking_asks_first_and_then_does_it(browser: Client, user: User) -> None:
    key = lifecycle.create(user_id=user.pk, name="laptop")
    address = reverse("keys:revoke", args=[key.key_id])
    assert "laptop" in browser.get(address).text
    assert APIKey.objects.get(pk=key.key_id).revoked_at is None
    page = browser.post(address, follow=True).text
    assert "Keys that no longer work" in page
    assert APIKey.objects.get(pk=key.key_id).revoked_at is not None
    assert browser.get(address)["Location"] == reverse("keys:detail", args=[key.key_id])
    assert browser.post(address).status_code == 302


@pytest.mark.parametrize("page", ["detail", "edit", "rotate", "revoke"])
def test_keys_of_others_and_of_the_playground_do_not_exist_for_me(
    browser: Client, user: User, page: str
) -> None:
    theirs = lifecycle.create(user_id=UserFactory.create().pk, name="theirs")
    session = lifecycle.session_key(user_id=user.pk)
    for key in (theirs, session):
        address = reverse(f"keys:{page}", args=[key.key_id])
        assert browser.get(address).status_code == 404
        assert browser.post(address, {"name": "mine", "grace": "0"}).status_code == (
            405 if page == "detail" else 404
        )
    assert not APIKey.objects.exclude(revoked_at=None).exists()
    page_of_mine = browser.get(reverse("keys:list")).text
    assert "theirs" not in page_of_mine
    assert f"/keys/{session.key_id}/" not in page_of_mine


def test_forms_are_protected_against_other_sites(user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post(reverse("keys:create"), {"name": "laptop"}).status_code == 403


# --- what a key may do --------------------------------------------------------------------------------------------

CHOICES = {
    "name": "shop",
    "cap": "۵۰٬۰۰۰",
    "life": "30",
    "allowed_networks": "۲۰۳.۰.۱۱۳.۷/۲۴، 2001:db8::/32\n198.51.100.7",
    "rpm": "۱۰",
    "tpm": "2,000",
    "concurrency": "",
}
CAP_MICRO = 50_000 * 10**7


def create(browser: Client, **changes: Any) -> Any:
    token = token_of_a_fresh_form(browser)
    return browser.post(reverse("keys:create"), {**CHOICES, "token": token, **changes})


def only_key(user: User) -> reading.ListedKey:
    [key] = reading.listing(user.pk)
    return key


def test_a_key_is_made_with_all_that_was_chosen_in_digits_of_any_keyboard(
    browser: Client, user: User
) -> None:
    model = LanguageModelFactory.create().model_id
    assert create(browser, allowed_models=[model]).status_code == 200
    rules = only_key(user).rules
    assert rules.allowed_models == (model,)
    assert rules.allowed_networks == ("203.0.113.0/24", "2001:db8::/32", "198.51.100.7/32")
    assert (rules.rpm, rules.tpm, rules.concurrency) == (10, 2000, None)
    assert rules.expires_at is not None
    assert timedelta(days=29) < rules.expires_at - timezone.now() <= timedelta(days=30)
    budget = Budget.objects.get(wallet_id=user.pk)
    assert (rules.budget_id, budget.limit_micro) == (budget.pk, CAP_MICRO)


@pytest.mark.parametrize("written", ["1405/12/29", "۱۴۰۵/۱۲/۲۹", "2027-03-20"])
def test_a_last_day_is_meant_whole_and_written_by_either_calendar(
    browser: Client, user: User, written: str
) -> None:
    create(browser, life="day", last_day=written)
    expires_at = only_key(user).rules.expires_at
    assert expires_at is not None
    assert expires_at == datetime.combine(date(2027, 3, 21), time.min, tzinfo=formats.TEHRAN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cap": "0"}, "at least 1 Toman"),
        ({"cap": "a lot"}, "whole number of Toman"),
        ({"life": "day"}, "Enter the last day"),
        ({"life": "day", "last_day": "2020-01-01"}, "This day has passed"),
        ({"life": "day", "last_day": "soon"}, "Enter a day such as"),
        ({"life": "forever"}, "Select a valid choice"),
        ({"allowed_models": ["unknown"]}, "Select a valid choice"),
        ({"allowed_networks": "example.com"}, "“example.com” is not a network"),
        ({"allowed_networks": "<b>"}, "“&lt;b&gt;” is not a network"),
        ({"allowed_networks": " ".join(f"10.0.0.{n}" for n in range(51))}, "too many networks"),
        ({"rpm": "0"}, "whole number above zero"),
        ({"tpm": "-5"}, "whole number above zero"),
        ({"concurrency": "1e3"}, "whole number above zero"),
        ({"rpm": "9" * 30}, "whole number above zero"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_with_the_options_unfolded(
    browser: Client, user: User, change: dict[str, Any], message: str
) -> None:
    response = create(browser, **change)
    assert response.status_code == 400
    assert message in response.text
    assert '<details class="options" open>' in response.text
    assert not reading.listing(user.pk)
    assert not Budget.objects.filter(wallet_id=user.pk).exists()


def test_a_fresh_form_has_its_options_folded(browser: Client) -> None:
    assert '<details class="options">' in browser.get(reverse("keys:create")).text


def test_a_form_sent_twice_opens_one_budget(browser: Client, user: User) -> None:
    token = token_of_a_fresh_form(browser)
    for _ in range(2):
        browser.post(reverse("keys:create"), {**CHOICES, "token": token})
    assert Budget.objects.filter(wallet_id=user.pk).count() == 1


def make(
    user: User, *, cap_micro: int | None = None, cap_period: Period = Period.FOREVER, **rules: Any
) -> int:
    return own_keys.create(
        user_id=user.pk, name="shop", rules=KeyRules(**rules), cap_micro=cap_micro, cap_period=cap_period
    ).key_id


def page_of(browser: Client, key_id: int, page: str = "detail") -> str:
    return browser.get(reverse(f"keys:{page}", args=[key_id])).text


def test_the_edit_form_shows_what_is_so_and_saves_what_is_changed(browser: Client, user: User) -> None:
    soon = timezone.now() + timedelta(days=3)
    key = make(user, cap_micro=CAP_MICRO, allowed_models=("gone",), allowed_networks=("10.0.0.0/8",),
               rpm=5, expires_at=soon)  # fmt: skip
    address = reverse("keys:edit", args=[key])
    form = browser.get(address).context["form"]
    shown = {name: form[name].value() for name in form.fields if name != "token" and form[name].value()}
    assert shown == {
        "name": "shop", "cap": "50,000", "cap_period": "forever", "life": "keep", "allowed_models": ["gone"],
        "allowed_networks": "10.0.0.0/8", "rpm": "5",
    }  # fmt: skip
    response = browser.post(
        address, {**shown, "name": "store", "cap": "60,000", "token": form["token"].value()}, follow=True
    )
    assert response.redirect_chain == [(reverse("keys:detail", args=[key]), 302)]
    assert "Saved." in response.text
    saved = reading.get(user_id=user.pk, key_id=key)
    assert (saved.name, saved.rules.expires_at, saved.rules.rpm) == ("store", soon, 5)
    budget = Budget.objects.get(wallet_id=user.pk)
    assert (saved.rules.budget_id, budget.limit_micro) == (budget.pk, 60_000 * 10**7)


def test_the_form_comes_back_unchanged_in_persian_digits(browser: Client, user: User) -> None:
    key = make(user, cap_micro=CAP_MICRO, rpm=1500)
    browser.cookies["hamiran_language"] = "fa"
    address = reverse("keys:edit", args=[key])
    form = browser.get(address).context["form"]
    shown = {name: form[name].value() for name in form.fields if form[name].value()}
    assert (shown["cap"], shown["rpm"]) == ("۵۰٬۰۰۰", "۱٬۵۰۰")
    assert browser.post(address, shown).status_code == 302
    saved = own_keys.get(user_id=user.pk, key_id=key, month_start=timezone.now())
    assert saved.cap is not None
    assert (saved.cap.limit_micro, saved.key.rules.rpm) == (CAP_MICRO, 1500)


def test_a_cap_is_taken_away_and_a_new_one_begins_anew(browser: Client, user: User) -> None:
    key = make(user, cap_micro=CAP_MICRO)
    address = reverse("keys:edit", args=[key])
    for cap, budgets_made in (("", 1), ("10", 2)):
        browser.post(address, {"name": "shop", "cap": cap, "life": "never", "token": "0" * 32})
        budget_id = reading.get(user_id=user.pk, key_id=key).rules.budget_id
        assert (budget_id is None) == (cap == "")
        assert Budget.objects.filter(wallet_id=user.pk).count() == budgets_made


def test_a_mistake_in_the_edit_form_changes_nothing(browser: Client, user: User) -> None:
    key = make(user, rpm=5)
    response = browser.post(reverse("keys:edit", args=[key]), {"name": "", "rpm": "7"})
    assert response.status_code == 400
    assert reading.get(user_id=user.pk, key_id=key).rules.rpm == 5


def test_a_key_is_replaced_with_a_grace_and_its_secret_shown_once(browser: Client, user: User) -> None:
    old = make(user, cap_micro=CAP_MICRO, rpm=5)
    address = reverse("keys:rotate", args=[old])
    token = browser.get(address).context["form"]["token"].value()
    response = browser.post(address, {"grace": "24", "token": token})
    assert response["Cache-Control"] == "no-store"
    assert re.search(r"OPENAI_API_KEY=hm-[0-9A-Za-z]{36}\n", response.text)
    assert "works until" in response.text
    new, kept = reading.listing(user.pk)
    assert (new.replaces, kept.key_id, kept.state) == (old, old, State.REPLACED)
    assert new.rules.budget_id == kept.rules.budget_id is not None
    again = browser.post(address, {"grace": "24", "token": token}, follow=True)
    assert "its secret is shown only once" in again.text
    assert len(reading.listing(user.pk)) == 2
    assert "being replaced" in browser.get(reverse("keys:list")).text
    assert f"hm-…{new.last_four}" in page_of(browser, old)
    assert f"hm-…{kept.last_four}" in page_of(browser, new.key_id)


def test_a_leaked_key_is_replaced_at_once(browser: Client, user: User) -> None:
    old = make(user)
    response = browser.post(reverse("keys:rotate", args=[old]), {"grace": "0", "token": "0" * 32})
    assert "stops working everywhere within seconds" in response.text
    assert reading.get(user_id=user.pk, key_id=old).state is State.REVOKED


def test_a_grace_that_is_not_offered_replaces_nothing(browser: Client, user: User) -> None:
    old = make(user)
    response = browser.post(reverse("keys:rotate", args=[old]), {"grace": "9999", "token": "0" * 32})
    assert response.status_code == 400
    assert only_key(user).state is State.WORKING


def test_a_second_replacement_waits_for_the_end_of_the_first(browser: Client, user: User) -> None:
    old = make(user)
    new = lifecycle.rotate(user_id=user.pk, key_id=old, grace=timedelta(days=1)).key_id
    response = browser.post(reverse("keys:rotate", args=[new]), {"grace": "1", "token": "0" * 32})
    assert response.status_code == 400
    assert "Revoke it first" in response.text


@pytest.mark.parametrize("page", ["edit", "rotate", "revoke"])
def test_a_key_that_has_ended_has_only_its_own_page(browser: Client, user: User, page: str) -> None:
    key = make(user)
    lifecycle.revoke(user_id=user.pk, key_id=key)
    assert browser.get(reverse(f"keys:{page}", args=[key]))["Location"] == reverse("keys:detail", args=[key])
    text = page_of(browser, key)
    assert "revoked" in text
    assert reverse("keys:edit", args=[key]) not in text
    if page != "revoke":
        answer = browser.post(
            reverse(f"keys:{page}", args=[key]), {"name": "x", "grace": "1", "token": "0" * 32}
        )
        assert answer["Location"] == reverse("keys:detail", args=[key])


def test_an_expired_key_is_listed_among_those_that_ended(browser: Client, user: User) -> None:
    key = make(user, expires_at=timezone.now())
    page = browser.get(reverse("keys:list"))
    assert [own.key.key_id for own in page.context["ended"]] == [key]
    assert "expired" in page.text


def test_the_pages_tell_what_each_key_used_this_month(browser: Client, user: User) -> None:
    used, unused = make(user), make(user)
    UsageRecordFactory.create(user_id=user.pk, key_id=used, prompt_tokens=10**7)
    UsageRecordFactory.create(user_id=user.pk, key_id=used, created_at=timezone.now() - timedelta(days=40))
    month = {own.key.key_id: own.month for own in browser.get(reverse("keys:list")).context["working"]}
    assert (month[used].requests, month[used].cost_micro) == (1, 10**10 + 20_000)
    assert month[unused].requests == 0
    assert "1,000" in page_of(browser, used)


def test_the_pages_tell_how_far_a_cap_is_spent(browser: Client, user: User) -> None:
    key = make(user, cap_micro=CAP_MICRO)
    Budget.objects.update(spent_micro=CAP_MICRO // 2, held_micro=10**7)
    for text in (browser.get(reverse("keys:list")).text, page_of(browser, key)):
        assert "25,000 Toman of 50,000 Toman" in text
        assert "M0 0h50v4H0z" in text
    assert "1 Toman reserved" in page_of(browser, key)
    Budget.objects.update(spent_micro=CAP_MICRO)
    assert "cap reached" in browser.get(reverse("keys:list")).text
    assert "Raise the cap" in page_of(browser, key)


def test_a_cap_per_month_is_made_shown_and_changed(browser: Client, user: User) -> None:
    assert create(browser, cap_period="month").status_code == 200
    key = only_key(user).key_id
    Budget.objects.filter(wallet_id=user.pk).update(spent_micro=CAP_MICRO // 2)
    resets_at = bounds(Period.MONTH, timezone.now())[1]
    assert f"begins anew on {formats.datetime_text(resets_at, language='en')}" in page_of(browser, key)
    assert "per month" in browser.get(reverse("keys:list")).text
    address = reverse("keys:edit", args=[key])
    form = browser.get(address).context["form"]
    assert form["cap_period"].value() == "month"
    shown = {name: form[name].value() for name in form.fields if form[name].value()}
    assert browser.post(address, {**shown, "cap": "60,000"}).status_code == 302
    cap = own_keys.get(user_id=user.pk, key_id=key, month_start=timezone.now()).cap
    assert cap is not None
    assert (cap.period, cap.spent_micro) == (Period.MONTH, CAP_MICRO // 2)
    assert browser.post(address, {**shown, "cap_period": "day"}).status_code == 302
    cap = own_keys.get(user_id=user.pk, key_id=key, month_start=timezone.now()).cap
    assert cap is not None
    assert (cap.period, cap.spent_micro) == (Period.DAY, 0)
    told = [row.changes.get("cap_period") for row in changes.page(user_id=user.pk).rows]
    assert told == [["month", "day"], None, ["forever", "month"]]


def test_a_month_that_is_over_is_shown_as_unspent(browser: Client, user: User) -> None:
    key = make(user, cap_micro=CAP_MICRO, cap_period=Period.MONTH)
    past = timezone.now() - timedelta(days=40)
    Budget.objects.filter(wallet_id=user.pk).update(
        spent_micro=CAP_MICRO, starts_at=past, ends_at=past + timedelta(days=30)
    )
    assert "0 Toman of 50,000 Toman" in page_of(browser, key)


def test_the_page_of_a_key_tells_its_rules_and_the_limits_that_hold(browser: Client, user: User) -> None:
    key = make(
        user, allowed_models=("a/b",), allowed_networks=("10.0.0.0/8",), rpm=1, tpm=10**9, concurrency=3
    )
    text = page_of(browser, key)
    for written in ("a/b", "10.0.0.0/8", "of your tier"):
        assert written in text
    free = page_of(browser, make(user))
    for written in ("all models", "from anywhere", "none: up to what the wallet has"):
        assert written in free


def test_the_list_takes_as_many_queries_for_many_keys_as_for_one(
    browser: Client, user: User, django_assert_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    make(user, cap_micro=1)
    with CaptureQueriesContext(connection) as one:
        browser.get(reverse("keys:list"))
    for _ in range(3):
        lifecycle.rotate(user_id=user.pk, key_id=make(user, cap_micro=1), grace=timedelta(days=1))
    with django_assert_num_queries(len(one)):
        browser.get(reverse("keys:list"))


def test_the_month_begins_by_the_calendar_of_the_page() -> None:
    day = date(2026, 11, 23)
    assert formats.month_start(day, language="en") == date(2026, 11, 1)
    assert formats.month_start(day, language="fa") == date(2026, 11, 22)


def test_many_keys_are_shown_page_by_page(
    browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.dashboard.keys.views.SHOWN", 2)
    names = [f"key-{number}" for number in range(5)]
    for name in names:
        lifecycle.create(user_id=user.pk, name=name)
    seen, query = [], ""
    while True:
        page = browser.get(reverse("keys:list") + query).text
        seen += re.findall(r"<bdi>(key-\d)</bdi>", page)
        if not (older := re.search(r'rel="next" href="[^"]*(\?before=\d+)"', page)):
            break
        query = older[1]
    assert seen == names[::-1]
    assert "There is nothing older" in browser.get(reverse("keys:list") + "?before=1").text
