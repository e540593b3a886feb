"""The sign-in pages over HTTP."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts import opening
from accounts.models import Challenge, Session, User
from accounts.session_store import SessionStore, digest
from accounts.tasks import purge_challenges
from tests.accounts.people import another, new_address, new_mobile

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    return Client(REMOTE_ADDR=new_address(), headers={"accept-language": "en"})


def typed(mobile: str) -> str:
    return "0" + mobile.removeprefix("+98")


def ask(browser: Client, mobile: str, **data: Any) -> Any:
    return browser.post("/sign-in/", {"mobile": typed(mobile), **data})


def code_of(browser: Client) -> str:
    return browser.cookies["sandbox_code"].value


def english(browser: Client) -> Client:
    browser.cookies["hamiran_language"] = "en"
    return browser


def test_a_newcomer_signs_in_with_number_and_code(browser: Client) -> None:
    mobile = new_mobile()
    assert browser.get("/sign-in/").status_code == 200
    asked = ask(browser, mobile)
    assert (asked.status_code, asked.headers["Location"]) == (302, "/sign-in/code/")
    page = browser.get("/sign-in/code/")
    assert code_of(browser) in page.content.decode()
    for attribute in ('autocomplete="one-time-code"', 'inputmode="numeric"', 'dir="ltr"', "data-code"):
        assert attribute in page.content.decode()
    answered = browser.post("/sign-in/code/", {"code": code_of(browser)})
    assert (answered.status_code, answered.headers["Location"]) == (302, "/overview/")
    assert int(browser.session["_auth_user_id"]) == User.objects.get(mobile=mobile).pk
    assert browser.cookies["sandbox_code"].value == ""


def test_persian_digits_and_spaces_are_read_in_both_fields(browser: Client) -> None:
    persian = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
    mobile = new_mobile()
    browser.post("/sign-in/", {"mobile": typed(mobile).translate(persian)})
    code = code_of(browser).translate(persian)
    assert (
        browser.post("/sign-in/code/", {"code": f" {code[:3]} {code[3:]}"}).headers["Location"]
        == "/overview/"
    )


@pytest.mark.parametrize("mobile", ["", "0912", "02188776655", "\x00", "9" * 500, "<script>"])
def test_a_number_that_is_none_gets_an_error_and_no_code(browser: Client, mobile: str) -> None:
    page = browser.post("/sign-in/", {"mobile": mobile})
    assert page.status_code == 200
    assert 'aria-invalid="true"' in page.content.decode()
    assert "sandbox_code" not in browser.cookies


@pytest.mark.parametrize("code", ["", "12345", "abcdef", "۱۲۳", "\x00", "1" * 500])
def test_what_is_no_code_costs_no_try(browser: Client, code: str) -> None:
    mobile = new_mobile()
    ask(browser, mobile)
    page = browser.post("/sign-in/code/", {"code": code})
    assert 'aria-invalid="true"' in page.content.decode()
    assert Challenge.objects.get(mobile=mobile).tries == 0


def test_a_wrong_code_says_so_and_the_field_comes_back_empty(browser: Client) -> None:
    ask(english(browser), new_mobile())
    wrong = another(code_of(browser))
    page = browser.post("/sign-in/code/", {"code": wrong}).content.decode()
    assert "This code is not right. You have 4 tries left." in page
    assert wrong not in page


def test_after_five_wrong_codes_the_right_one_is_too_late(browser: Client) -> None:
    ask(english(browser), new_mobile())
    for _ in range(5):
        page = browser.post("/sign-in/code/", {"code": another(code_of(browser))})
    assert "The code was wrong five times." in page.content.decode()
    page = browser.post("/sign-in/code/", {"code": code_of(browser)})
    assert "Ask for a new one below" in page.content.decode()
    assert "_auth_user_id" not in browser.session


def test_the_session_key_changes_at_sign_in(browser: Client) -> None:
    ask(browser, new_mobile())
    before = browser.session.session_key
    browser.post("/sign-in/code/", {"code": code_of(browser)})
    assert browser.session.session_key != before
    assert not Session.objects.filter(session_key=digest(str(before))).exists()


def test_a_code_works_only_in_the_browser_that_asked(browser: Client) -> None:
    mobile = new_mobile()
    ask(browser, mobile)
    thief = Client(REMOTE_ADDR=new_address())
    ask(thief, new_mobile())
    thief.post("/sign-in/code/", {"code": code_of(browser)})
    assert "_auth_user_id" not in thief.session
    assert thief.post("/sign-in/code/", {"code": code_of(browser)}).status_code == 200
    assert not User.objects.filter(mobile=mobile).exists()


def test_known_and_unknown_numbers_get_the_same_answer() -> None:
    known = opening.open_account(mobile=new_mobile()).mobile
    closed = opening.open_account(mobile=new_mobile()).mobile
    User.objects.filter(mobile=closed).update(is_active=False)
    answers = []
    for mobile in (known, closed, new_mobile()):
        browser = Client(REMOTE_ADDR=new_address())
        asked = ask(browser, mobile)
        page = browser.get("/sign-in/code/").content.decode()
        for own in (
            code_of(browser),
            typed(mobile),
            typed(mobile).translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")),
        ):
            page = page.replace(own, "")
        page = "\n".join(line for line in page.splitlines() if "csrfmiddlewaretoken" not in line)
        answers.append((asked.status_code, asked.headers["Location"], sorted(asked.cookies), page))
    assert answers[0] == answers[1] == answers[2]


def test_a_closed_account_is_told_so_after_the_right_code(browser: Client) -> None:
    mobile = opening.open_account(mobile=new_mobile()).mobile
    User.objects.filter(mobile=mobile).update(is_active=False)
    ask(english(browser), mobile)
    page = browser.post("/sign-in/code/", {"code": code_of(browser)})
    assert "This account is closed" in page.content.decode()
    assert "_auth_user_id" not in browser.session


def test_a_closed_account_loses_its_session_at_once(browser: Client) -> None:
    mobile = new_mobile()
    ask(browser, mobile)
    browser.post("/sign-in/code/", {"code": code_of(browser)})
    User.objects.filter(mobile=mobile).update(is_active=False)
    assert browser.get("/sign-in/").status_code == 200


def test_asking_twice_in_one_browser_leads_to_the_code_page_and_sends_one_code(browser: Client) -> None:
    mobile = new_mobile()
    ask(browser, mobile)
    again = ask(browser, mobile)
    assert (again.status_code, again.headers["Location"]) == (302, "/sign-in/code/")
    assert Challenge.objects.filter(mobile=mobile).count() == 1


def test_asking_from_another_browser_too_soon_is_refused_with_the_wait(browser: Client) -> None:
    mobile = new_mobile()
    ask(browser, mobile)
    page = ask(english(Client(REMOTE_ADDR=new_address())), mobile)
    assert page.status_code == 429
    assert "You can ask for another in " in page.content.decode()


def test_a_new_code_too_soon_is_refused_on_the_code_page(browser: Client) -> None:
    ask(english(browser), new_mobile())
    page = browser.post("/sign-in/code/again/", follow=True)
    assert page.redirect_chain == [("/sign-in/code/", 302)]
    assert "You can ask for another in " in page.content.decode()


def test_a_new_code_replaces_the_old_one(browser: Client) -> None:
    mobile = new_mobile()
    ask(browser, mobile)
    old = code_of(browser)
    Challenge.objects.filter(mobile=mobile).update(created_at=timezone.now() - timedelta(seconds=61))
    assert browser.post("/sign-in/code/again/").headers["Location"] == "/sign-in/code/"
    assert Challenge.objects.filter(mobile=mobile).count() == 2
    new = code_of(browser)
    if old != new:
        assert browser.post("/sign-in/code/", {"code": old}).status_code == 200
    assert browser.post("/sign-in/code/", {"code": new}).headers["Location"] == "/overview/"


def test_an_address_that_asks_for_too_many_codes_is_refused(browser: Client, settings: Any) -> None:
    settings.CODES_PER_ADDRESS_HOUR = 1
    ask(english(browser), new_mobile())
    page = ask(browser, new_mobile())
    assert page.status_code == 429
    assert "Too many codes were asked for. You can ask for another in 60 minutes." in page.content.decode()


@pytest.mark.parametrize("path", ["/sign-in/code/", "/sign-in/code/again/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_the_code_pages_without_a_number_lead_to_the_first_page(
    browser: Client, path: str, method: str
) -> None:
    response = getattr(browser, method)(path)
    assert (response.status_code, response.headers["Location"]) == (302, "/sign-in/")


def test_reloading_the_resend_address_leads_to_the_code_page(browser: Client) -> None:
    ask(browser, new_mobile())
    assert browser.get("/sign-in/code/again/").headers["Location"] == "/sign-in/code/"


def test_a_signed_in_user_is_led_past_the_sign_in_pages(browser: Client) -> None:
    browser.force_login(opening.open_account(mobile=new_mobile()))
    assert browser.get("/sign-in/?next=/keys/").headers["Location"] == "/keys/"
    assert browser.get("/sign-in/code/").headers["Location"] == "/overview/"
    assert browser.get("/").headers["Location"] == "/overview/"


def test_next_is_kept_through_both_pages(browser: Client) -> None:
    assert 'value="/keys/?page=2"' in browser.get("/sign-in/?next=/keys/%3Fpage%3D2").content.decode()
    ask(browser, new_mobile(), next="/keys/?page=2")
    assert browser.post("/sign-in/code/", {"code": code_of(browser)}).headers["Location"] == "/keys/?page=2"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "javascript:alert(1)",
        "///evil.example",
        "evil",
        "/\t/evil.example",
        "http:/evil.example",
    ],
)
def test_next_never_leads_off_the_site(browser: Client, elsewhere: str | None) -> None:
    ask(browser, new_mobile(), next=elsewhere)
    assert browser.post("/sign-in/code/", {"code": code_of(browser)}).headers["Location"] == "/overview/"


def test_signing_out_takes_a_post(browser: Client) -> None:
    browser.force_login(opening.open_account(mobile=new_mobile()))
    assert browser.get("/sign-out/").status_code == 405
    assert browser.post("/sign-out/").headers["Location"] == "/"
    assert "_auth_user_id" not in browser.session


def test_without_a_provider_the_page_says_so_instead_of_crashing(browser: Client, settings: Any) -> None:
    settings.SMS_PROVIDER = "none"
    page = ask(english(browser), new_mobile())
    assert page.status_code == 503
    assert "SMS is not configured" in page.content.decode()


def test_outside_the_sandbox_the_code_is_not_on_the_page(
    browser: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    class Provider:
        def send_code(self, *, mobile: str, code: str, text: str) -> None:
            sent.append(code)

    monkeypatch.setattr("accounts.sms.sending.provider", Provider)
    settings.SANDBOX = False
    asked = ask(browser, new_mobile())
    assert "sandbox_code" not in asked.cookies
    browser.cookies["sandbox_code"] = sent[0]
    assert sent[0] not in browser.get("/sign-in/code/").content.decode()


def test_the_forms_need_a_csrf_token() -> None:
    browser = Client(enforce_csrf_checks=True, REMOTE_ADDR=new_address())
    page = browser.post("/sign-in/", {"mobile": "09121234567"})
    assert page.status_code == 403
    assert "<!doctype html>" in page.content.decode()


def test_a_dump_of_the_database_holds_no_code(browser: Client, tmp_path: Path) -> None:
    ask(browser, new_mobile())
    dump = tmp_path / "dump.json"
    call_command("dumpdata", output=str(dump), verbosity=0)
    challenge = Challenge.objects.get(mobile=browser.session["sign_in"]["mobile"])
    text = dump.read_text()
    assert str(challenge.id) in text
    stored = Session.objects.get(session_key=digest(str(browser.session.session_key)))
    session = SessionStore().decode(stored.session_data)
    assert code_of(browser) not in str(
        session["sign_in"]
        | {"mobile": "", "challenge": "", "browser_secret": "", "resend_at": "", "expires_at": ""}
    )
    assert f'"{code_of(browser)}"' not in text


def test_the_task_purges_days_that_ended_two_days_ago(browser: Client) -> None:
    mobile = new_mobile()
    ask(browser, mobile)
    Challenge.objects.filter(mobile=mobile).update(created_at=timezone.now() - timedelta(days=3, seconds=1))
    purge_challenges()
    assert not Challenge.objects.filter(mobile=mobile).exists()
