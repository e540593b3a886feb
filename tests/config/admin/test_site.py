"""The admin's door, end to end: mobile number, password, authenticator, lock-out; and its users and tiers."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from auditlog.models import LogEntry
from axes.models import AccessAttempt
from django.contrib.admin import site
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django_otp.oath import totp

from accounts import admins, opening
from accounts.admin_models import Authenticator
from accounts.models import Tier, User
from config.admin.site import SESSION_SECONDS
from keys.models import APIKey
from tests.proxy.factories import APIKeyFactory
from wallet.ledger.models import Wallet

pytestmark = pytest.mark.django_db
MOBILE = "+989150000001"
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def quick_password_hashes(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def admin() -> User:
    admins.make(mobile=MOBILE, password=PASSWORD)
    return User.objects.get(mobile=MOBILE)


@pytest.fixture
def browser() -> Client:
    return Client(REMOTE_ADDR="10.99.0.1")


def token_of(user: User) -> str:
    return f"{totp(Authenticator.objects.get(user=user).seed()):06d}"


def log_in(
    browser: Client,
    user: User,
    *,
    mobile: str = "09150000001",
    password: str = PASSWORD,
    token: str | None = None,
) -> Any:
    data = {"username": mobile, "password": password, "otp_token": token_of(user) if token is None else token}
    return browser.post("/admin/login/?next=/admin/", data)


def entries_of(user: User) -> Any:
    return LogEntry.objects.get_for_object(user)


@pytest.fixture
def inside(browser: Client, admin: User) -> Client:
    assert log_in(browser, admin).status_code == 302
    return browser


@pytest.mark.parametrize("mobile", ["09150000001", "+989150000001", "۰۹۱۵۰۰۰۰۰۰۱", "0098 915 000 0001"])
@pytest.mark.parametrize("language", ["fa", "en"])
def test_an_admin_enters_with_number_password_and_token(
    browser: Client, admin: User, mobile: str, language: str
) -> None:
    browser.cookies["hamiran_language"] = language
    assert browser.get("/admin/").status_code == 302
    assert "otp_token" in browser.get("/admin/login/").content.decode()
    entered = log_in(browser, admin, mobile=mobile)
    assert (entered.status_code, entered.url) == (302, "/admin/")
    index = browser.get("/admin/").content.decode()
    assert f'<html lang="{language}"' in index
    assert browser.session.get_expiry_age() == SESSION_SECONDS


def test_persian_digits_of_the_token_are_read(browser: Client, admin: User) -> None:
    token = token_of(admin).translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))
    assert log_in(browser, admin, token=token).status_code == 302


@pytest.mark.parametrize(("password", "token"), [(PASSWORD, ""), (PASSWORD, "abcdef"), ("wrong", None)])
def test_password_and_token_are_both_needed(
    browser: Client, admin: User, password: str, token: str | None
) -> None:
    page = log_in(browser, admin, password=password, token=token)
    assert page.status_code == 200
    assert "errornote" in page.content.decode()
    assert browser.get("/admin/").status_code == 302


def test_signing_in_by_sms_does_not_open_the_admin(browser: Client, admin: User) -> None:
    browser.force_login(admin)
    assert browser.get("/admin/").status_code == 302


def test_a_developer_with_no_password_cannot_enter(browser: Client) -> None:
    opening.open_account(mobile="+989150000002")
    page = browser.post("/admin/login/", {"username": "09150000002", "password": "", "otp_token": "123456"})
    assert page.status_code == 200


def test_guessing_the_password_is_locked_out_however_the_number_is_typed(
    browser: Client, admin: User
) -> None:
    for mobile in ("09150000001", "+989150000001", "989150000001", "0098 9150000001"):
        assert log_in(browser, admin, mobile=mobile, password="guess").status_code == 200
    locked = log_in(browser, admin, password="guess")
    assert locked.status_code == 429
    assert "<h1>" in locked.content.decode()
    assert log_in(browser, admin).status_code == 429
    assert log_in(Client(REMOTE_ADDR="10.99.0.2"), admin).status_code == 302


def test_guesses_from_one_ipv6_network_are_counted_together(admin: User) -> None:
    for host in range(4):
        assert log_in(Client(REMOTE_ADDR=f"2001:db8::{host}"), admin, password="guess").status_code == 200
    assert log_in(Client(REMOTE_ADDR="2001:db8::9:9"), admin, password="guess").status_code == 429
    assert log_in(Client(REMOTE_ADDR="2001:db8::abcd"), admin).status_code == 429
    assert log_in(Client(REMOTE_ADDR="2001:db8:0:1::1"), admin).status_code == 302


def test_a_failed_entry_is_recorded_without_password_or_token(browser: Client, admin: User) -> None:
    log_in(browser, admin, password="my other password", token="135790")
    [attempt] = AccessAttempt.objects.filter(username=MOBILE).values()
    assert "my other password" not in str(attempt)
    assert "135790" not in str(attempt)


def test_a_password_that_was_right_is_not_sent_back_in_the_page(browser: Client, admin: User) -> None:
    page = log_in(browser, admin, token="abcdef").content.decode()
    assert PASSWORD not in page


def test_users_are_found_by_their_number_as_people_write_it(inside: Client, admin: User) -> None:
    other = opening.open_account(mobile="+989150000777")
    for typed in ("09150000777", "+989150000777", "۰۹۱۵۰۰۰۰۷۷۷", "0777"):
        found = inside.get("/admin/accounts/user/", {"q": typed})
        assert found.headers["Location"] == f"/admin/accounts/user/{other.pk}/change/"  # the only one


def test_a_change_of_tier_is_written_into_the_audit_log(inside: Client, admin: User) -> None:
    user = opening.open_account(mobile="+989150000003")
    standard = Tier.objects.get(name="Standard")
    page = inside.get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
    assert user.password not in page
    saved = inside.post(
        f"/admin/accounts/user/{user.pk}/change/",
        {"mobile": user.mobile, "tier": standard.pk, "is_active": "on"},
    )
    assert saved.status_code == 302
    user.refresh_from_db()
    assert user.tier == standard
    entry = entries_of(user).order_by("-id").first()
    assert entry.actor == admin
    assert set(entry.changes) == {"tier"}


def test_the_audit_log_never_holds_a_password_hash(admin: User) -> None:
    changes = str([entry.changes for entry in entries_of(admin)])
    assert "password" in changes
    assert admin.password not in changes


def test_a_user_added_in_the_admin_has_a_wallet_and_no_password(inside: Client) -> None:
    tier = Tier.objects.get(is_default=True)
    added = inside.post(
        "/admin/accounts/user/add/", {"mobile": "09150000004", "tier": tier.pk, "is_staff": "on"}
    )
    assert added.status_code == 302
    user = User.objects.get(mobile="+989150000004")
    assert user.is_staff
    assert not user.has_usable_password()
    assert Wallet.objects.get(user=user).posted_micro == tier.sign_up_credit_micro


def test_users_are_never_deleted(inside: Client, admin: User) -> None:
    assert inside.get(f"/admin/accounts/user/{admin.pk}/delete/").status_code == 403


def test_an_admin_of_users_cannot_make_a_superuser(browser: Client, admin: User) -> None:
    admins.make(mobile="+989150000005", password=PASSWORD)
    helper = User.objects.get(mobile="+989150000005")
    helper.is_superuser = False
    helper.save()
    helper.user_permissions.set(Permission.objects.filter(codename__in=["change_user", "view_user"]))
    assert log_in(browser, helper, mobile=helper.mobile).status_code == 302
    tier = Tier.objects.get(is_default=True)
    data = {
        "mobile": helper.mobile,
        "tier": tier.pk,
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
    }
    customer = opening.open_account(mobile="+989150000006")
    assert browser.post(f"/admin/accounts/user/{customer.pk}/change/", data).status_code == 302
    customer.refresh_from_db()
    assert (customer.is_superuser, customer.is_staff) == (False, False)
    for staff in (helper, admin):
        assert browser.post(f"/admin/accounts/user/{staff.pk}/change/", data).status_code == 403
        assert browser.get(f"/admin/accounts/user/{staff.pk}/password/").status_code == 403


def test_every_page_of_accounts_in_the_admin_opens(inside: Client, admin: User) -> None:
    tier = Tier.objects.get(is_default=True)
    for address in (
        "user/", "user/add/", f"user/{admin.pk}/change/", f"user/{admin.pk}/history/", "authenticator/",
        "numberchange/", "numberchange/add/", f"authenticator/{Authenticator.objects.get(user=admin).pk}/change/",
        "tier/", "tier/add/", f"tier/{tier.pk}/change/",
    ):  # fmt: skip
        assert inside.get(f"/admin/accounts/{address}").status_code == 200


@pytest.mark.parametrize("model", [model for model, its in site._registry.items() if its.search_fields])
def test_every_list_of_the_admin_can_be_searched(inside: Client, model: type[Model]) -> None:
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    for term in ("09150000001", "x", "5", "10.99.0.1"):
        assert inside.get(path, {"q": term}, follow=True).status_code == 200


def test_the_audit_log_shows_and_finds_how_a_sign_in_ended_and_from_where(
    inside: Client, browser: Client, admin: User
) -> None:
    log_in(Client(REMOTE_ADDR="2001:db8::7"), admin, password="a wrong password")
    address = "\u20662001:db8::7\u2069"  # in this order on a Persian page, too
    for term in ("09150000001", "2001:db8::7"):
        page = inside.get("/admin/auditlog/logentry/", {"q": term}).content.decode()
        assert "admin sign-in: refused" in page
        assert address in page
    assert (
        "admin sign-in: refused" not in inside.get("/admin/auditlog/logentry/?q=10.99.0.1").content.decode()
    )
    entry = entries_of(admin).latest("id")
    assert address in inside.get(f"/admin/auditlog/logentry/{entry.pk}/change/").content.decode()


def test_dates_go_by_the_calendar_of_the_page(inside: Client) -> None:
    key = APIKeyFactory.create()
    APIKey.objects.filter(pk=key.pk).update(created_at=datetime(2026, 11, 23, 10, 35, tzinfo=UTC))
    places = [
        reverse("admin:keys_apikey_changelist") + f"?q={key.last_four}",
        reverse("admin:keys_apikey_change", args=[key.pk]),
    ]
    for language, shown in (("fa", "۲ آذر ۱۴۰۵، ۱۴:۰۵"), ("en", "23 Nov 2026, 14:05")):
        inside.cookies["hamiran_language"] = language
        for place in places:
            assert shown in inside.get(place).text


def test_the_tier_of_new_accounts_cannot_be_deleted(inside: Client) -> None:
    tier = Tier.objects.get(is_default=True)
    assert inside.get(f"/admin/accounts/tier/{tier.pk}/delete/").status_code == 403


def test_create_admin_makes_a_password_where_nobody_can_be_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, browser: Client
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    call_command("create_admin", "--mobile", "۰۹۱۵۰۰۰۰۰۰۱", "--json")
    made = json.loads(capsys.readouterr().out)
    assert made["mobile"] == MOBILE
    assert len(made["password"]) >= 20
    url = urlsplit(made["otpauth_url"])
    assert (url.scheme, url.netloc) == ("otpauth", "totp")
    assert parse_qs(url.query)["issuer"] == ["Hamiran"]
    user = User.objects.get(mobile=MOBILE)
    assert Wallet.objects.filter(user=user).exists()
    assert log_in(browser, user, password=made["password"]).status_code == 302


def test_create_admin_reads_a_password_file_and_shows_a_qr_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    call_command("create_admin", "--mobile", MOBILE, "--password-file", str(tmp_path / "password"))
    printed = capsys.readouterr().out
    assert "otpauth://totp/" in printed
    code = [line for line in printed.splitlines() if line.startswith(("█", "▀"))]
    assert {len(line) for line in code} == {2 * len(code) - 1}  # a character is one wide and two high
    assert PASSWORD not in printed
    assert User.objects.get(mobile=MOBILE).check_password(PASSWORD)


def test_create_admin_again_replaces_password_and_authenticator(admin: User) -> None:
    before = Authenticator.objects.get(user=admin).seed()
    admins.make(mobile=MOBILE, password=PASSWORD + " again")
    admin.refresh_from_db()
    assert admin.check_password(PASSWORD + " again")
    assert Authenticator.objects.get(user=admin).seed() != before


@pytest.mark.parametrize(("mobile", "password"), [("0912", PASSWORD), (MOBILE, "short"), (MOBILE, "")])
def test_create_admin_refuses_a_bad_number_or_a_weak_password(
    tmp_path: Path, mobile: str, password: str
) -> None:
    (tmp_path / "password").write_text(password)
    with pytest.raises(CommandError):
        call_command("create_admin", "--mobile", mobile, "--password-file", str(tmp_path / "password"))
    assert not User.objects.filter(mobile=MOBILE).exists()
