"""The second admin is a second person: nobody makes one in the pages, sees a seed, or approves with fresh rights."""

import re
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts import admins, approvals, secrets
from accounts.admin_models import Authenticator
from accounts.models import Tier, User
from accounts.shared.channel import Unreachable
from accounts.sms import sending
from tests.accounts.people import new_mobile
from tests.admin_browser import SEED, admin_browser, staff_browser
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def quick_password_hashes(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def told(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> Any:
    """Runs something and returns the SMS that it sent, as (number, text)."""
    sent: list[tuple[str, str]] = []

    class Telephone:
        def send_text(self, *, mobile: str, text: str) -> None:
            sent.append((mobile, text))

    monkeypatch.setattr(sending, "provider", Telephone)

    def run(work: Any) -> list[tuple[str, str]]:
        sent.clear()
        with django_capture_on_commit_callbacks(execute=True):
            work()
        return list(sent)

    return run


def me(browser: Client) -> User:
    return User.objects.get(pk=int(browser.session["_auth_user_id"]))


def user_form(user: User, **fields: Any) -> dict[str, Any]:
    """The page of a user, saved with nothing changed but `fields`; None takes a tick away."""
    ticks = {name: "on" for name in ("is_active", "is_staff", "is_superuser") if getattr(user, name)}
    form = {
        "tier": user.tier_id,
        "groups": [each.pk for each in user.groups.all()],
        "user_permissions": [each.pk for each in user.user_permissions.all()],
        **ticks,
        **fields,
    }
    return {name: value for name, value in form.items() if value is not None}


def save_user(browser: Client, user: User, **fields: Any) -> int:
    path = f"/admin/accounts/user/{user.pk}/change/"
    return browser.post(path, user_form(user, **fields)).status_code


# --- seeds -----------------------------------------------------------------------------------------------------------


def test_a_seed_is_encrypted_in_the_database_and_opens_once() -> None:
    user = UserFactory.create()
    made = Authenticator.objects.create(user=user, seed_encrypted=secrets.encrypt(SEED))
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(a)::text FROM accounts_authenticator a WHERE id = %s", [made.pk])
        stored = cursor.fetchone()[0]
    assert SEED not in stored
    assert bytes.fromhex(SEED).hex() not in stored
    code = f"{totp(bytes.fromhex(SEED)):06d}"
    for wrong in ("", code[:5], code + "0", "abcdef", "۱۲۳۴۵۶", "-12345"):
        assert not Authenticator(user=user, seed_encrypted=made.seed_encrypted).verify_token(wrong)
    assert made.verify_token(code)
    assert not Authenticator.objects.get(pk=made.pk).verify_token(code)


def test_guessing_a_code_is_slowed_down_by_django_otp() -> None:
    device = Authenticator.objects.create(user=UserFactory.create(), seed_encrypted=secrets.encrypt(SEED))
    assert not device.verify_token("000000")
    assert not device.verify_token(f"{totp(bytes.fromhex(SEED)):06d}")
    assert device.throttling_failure_count == 1


def test_a_seed_that_no_key_reads_opens_nothing(settings: Any) -> None:
    device = Authenticator.objects.create(user=UserFactory.create(), seed_encrypted=secrets.encrypt(SEED))
    settings.FIELD_KEYS = ["another key, which encrypted nothing yet"]
    assert not device.verify_token(f"{totp(bytes.fromhex(SEED)):06d}")


def test_the_database_refuses_a_plain_seed() -> None:
    for plain in (SEED.encode(), b"", bytes.fromhex(SEED)):
        with pytest.raises(IntegrityError, match="authenticator_seed_encrypted"), transaction.atomic():
            Authenticator.objects.create(user=UserFactory.create(), seed_encrypted=plain)


def test_seeds_that_django_otp_kept_are_encrypted_and_gone() -> None:
    user, settled = UserFactory.create(), UserFactory.create()
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE otp_totp_totpdevice (user_id bigint, key text, drift int, last_t bigint, confirmed bool, "
            "step int, t0 int, digits int, throttling_failure_timestamp timestamptz, throttling_failure_count int, "
            "created_at timestamptz, last_used_at timestamptz)"
        )
        row = "(%s, %s, 1, 77, %s, 30, 0, 6, NULL, 0, now(), NULL)"
        cursor.execute(
            f"INSERT INTO otp_totp_totpdevice VALUES {row}, {row}",
            [user.pk, SEED, True, settled.pk, SEED, False],
        )
        migration = import_module("accounts.migrations.0008_second_admin_guards")
        with connection.schema_editor() as editor:
            from django.apps import apps

            migration.encrypt_seeds(apps, editor)
        cursor.execute("SELECT count(*) FROM otp_totp_totpdevice")
        assert cursor.fetchone()[0] == 0
        cursor.execute("DROP TABLE otp_totp_totpdevice")
    moved = Authenticator.objects.get(user=user)
    assert (moved.seed().hex(), moved.last_step, moved.drift) == (SEED, 77, 1)
    assert not Authenticator.objects.filter(user=settled).exists()


def test_rotating_secrets_covers_the_seeds(settings: Any) -> None:
    device = Authenticator.objects.create(user=UserFactory.create(), seed_encrypted=secrets.encrypt(SEED))
    settings.FIELD_KEYS = ["a new key that encrypts from now on", *settings.FIELD_KEYS]
    admins.rotate_seeds()
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    device.refresh_from_db()
    assert device.seed().hex() == SEED


# --- what the pages do not do ----------------------------------------------------------------------------------------


def test_no_page_of_the_admin_shows_or_edits_a_seed() -> None:
    browser = admin_browser()
    admins.make(mobile=new_mobile(), password=PASSWORD)
    device = Authenticator.objects.latest("pk")
    pages = [
        "/admin/",
        "/admin/accounts/authenticator/",
        f"/admin/accounts/authenticator/{device.pk}/change/",
    ]
    for page in [*pages, f"/admin/accounts/user/{device.user_id}/change/", "/admin/auditlog/logentry/"]:
        text = browser.get(page).content.decode()
        assert device.seed().hex() not in text
        assert bytes(device.seed_encrypted).decode() not in text
        assert "otpauth:" not in text
        assert "qrcode" not in text.lower()
    for entry in LogEntry.objects.get_for_object(device):
        assert bytes(device.seed_encrypted).decode()[20:] not in str(entry.changes)
    assert browser.get("/admin/otp_totp/totpdevice/").status_code == 404
    for page in ("config", "qrcode"):
        answer = browser.get(f"/admin/accounts/authenticator/{device.pk}/{page}/", follow=True)
        assert answer.redirect_chain[-1][0] == "/admin/"  # there is no such page
    for action in ("change", "delete"):
        path = f"/admin/accounts/authenticator/{device.pk}/{action}/"
        assert browser.post(path, {"post": "yes"}).status_code == 403
    assert browser.get("/admin/accounts/authenticator/add/").status_code == 403


def test_nobody_sets_the_password_of_another_admin_in_the_pages() -> None:
    browser, other = admin_browser(), UserFactory.create(is_staff=True, is_superuser=True)
    other.set_password(PASSWORD)
    other.save()
    for target in (other, me(browser), UserFactory.create()):
        path = f"/admin/accounts/user/{target.pk}/password/"
        new = {
            "password1": "another horse battery",
            "password2": "another horse battery",
            "usable_password": "true",
        }
        assert browser.get(path).status_code == browser.post(path, new).status_code == 403
    page = browser.get(f"/admin/accounts/user/{other.pk}/change/").content.decode()
    assert not re.search(r'name="password|/password/|md5|pbkdf2', page)
    assert save_user(browser, other, password="x") == 302
    other.refresh_from_db()
    assert other.check_password(PASSWORD)


def test_an_admin_changes_the_own_password_with_the_present_one_and_all_are_told(told: Any) -> None:
    browser = admin_browser()
    user = me(browser)
    user.set_password(PASSWORD)
    user.save()
    browser = admin_browser(user)
    new = {"new_password1": "another horse battery", "new_password2": "another horse battery"}
    assert browser.post("/admin/password_change/", {**new, "old_password": "guess"}).status_code == 200
    User.objects.update(empowered_at=None)
    sent = told(lambda: browser.post("/admin/password_change/", {**new, "old_password": PASSWORD}))
    assert user.mobile in dict(sent)
    user.refresh_from_db()
    assert user.check_password("another horse battery")
    assert user.empowered_at is not None


# --- who may approve -------------------------------------------------------------------------------------------------


def test_whoever_was_made_an_admin_approves_nothing_for_two_days() -> None:
    first, mobile = UserFactory.create(), new_mobile()
    admins.make(mobile=mobile, password=PASSWORD)
    new = User.objects.get(mobile=mobile)
    with pytest.raises(approvals.TooNew) as refused:
        approvals.check(requested_by_id=first.pk, admin_id=new.pk)
    assert timedelta(hours=47) < refused.value.since - timezone.now() <= timedelta(hours=48)
    User.objects.filter(pk=new.pk).update(empowered_at=timezone.now() - timedelta(hours=48, seconds=1))
    approvals.check(requested_by_id=first.pk, admin_id=new.pk)
    admins.make(mobile=mobile, password=PASSWORD)  # a new factor for an old admin
    with pytest.raises(approvals.TooNew):
        approvals.check(requested_by_id=first.pk, admin_id=new.pk)
    with pytest.raises(approvals.NeedsSecondAdmin):
        approvals.check(requested_by_id=new.pk, admin_id=new.pk)


@pytest.mark.parametrize(
    ("before", "given"),
    [
        ({}, {"is_staff": "on"}),
        ({"is_staff": True}, {"is_superuser": "on"}),
    ],
)
def test_rights_given_in_the_pages_are_noted_and_all_admins_told(
    told: Any, before: dict[str, bool], given: dict[str, str]
) -> None:
    browser, other = admin_browser(), UserFactory.create(is_staff=True)
    user = UserFactory.create(**before)
    sent = told(lambda: save_user(browser, user, **given))
    user.refresh_from_db()
    assert user.empowered_at is not None
    assert set(dict(sent)) >= {me(browser).mobile, other.mobile, user.mobile}
    User.objects.update(empowered_at=None)
    assert told(lambda: save_user(browser, user)) == []  # nothing changed
    user.refresh_from_db()
    assert user.empowered_at is None


def test_rights_are_offered_for_staff_and_shown_where_some_are_left(told: Any) -> None:
    browser, user = admin_browser(), UserFactory.create()
    path = f"/admin/accounts/user/{user.pk}/change/"
    group = Group.objects.create(name="money")

    def offered() -> bool:
        return 'name="groups"' in browser.get(path).text

    assert not offered()
    assert save_user(browser, user, is_staff="on", groups=[group.pk]) == 302
    assert not user.groups.exists()  # the page had not offered them
    assert offered()
    user.refresh_from_db()
    assert save_user(browser, user, groups=[group.pk]) == 302
    assert user.groups.get() == group
    assert save_user(browser, user, is_staff=None) == 302
    assert offered()


def test_permissions_given_by_name_or_by_group_count_as_rights(told: Any) -> None:
    browser = admin_browser()
    approve = Permission.objects.get(codename="approve_adjustment")
    user, member, outsider = (
        UserFactory.create(is_staff=True),
        UserFactory.create(is_staff=True),
        UserFactory.create(),
    )
    assert save_user(browser, user, user_permissions=[approve.pk]) == 302
    group = Group.objects.create(name="money")
    group.user_set.add(member, outsider)
    path = f"/admin/auth/group/{group.pk}/change/"
    sent = told(lambda: browser.post(path, {"name": "money", "permissions": [approve.pk]}))
    assert member.mobile in dict(sent)
    users = (user, member, outsider)
    noted = [User.objects.get(pk=each.pk).empowered_at is not None for each in users]
    assert noted == [True, True, False]
    entry = LogEntry.objects.get_for_object(group).latest("id")
    assert "permissions" in entry.changes
    assert entry.actor == me(browser)
    User.objects.update(empowered_at=None)
    assert browser.post(path, {"name": "money"}).status_code == 302  # taken away again
    assert User.objects.get(pk=member.pk).empowered_at is None


def test_admins_are_told_of_rights_that_go_with_a_group(told: Any) -> None:
    browser, member = admin_browser(), UserFactory.create(is_staff=True)
    delete = {"action": "delete_selected", "post": "yes"}
    for name in ("money", "prices"):
        group = Group.objects.create(name=name)
        group.permissions.add(Permission.objects.get(codename="approve_adjustment"))
        member.groups.add(group)
        chosen = {**delete, "_selected_action": [str(group.pk)]}
        by_page = f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"}
        path, data = by_page if name == "money" else ("/admin/auth/group/", chosen)
        sent = told(lambda path=path, data=data: browser.post(path, data))
        assert not Group.objects.filter(pk=group.pk).exists()
        assert set(dict(sent)) >= {me(browser).mobile, member.mobile}
        assert User.objects.get(pk=member.pk).empowered_at is None


def test_an_admin_that_is_shut_out_is_told_with_the_others(told: Any) -> None:
    browser, victim = admin_browser(), UserFactory.create(is_staff=True, is_superuser=True)
    block = f"/admin/accounts/user/{victim.pk}/block/"
    sent = dict(told(lambda: browser.post(block, {"words": "left us"})))
    assert victim.mobile in sent
    assert not User.objects.get(pk=victim.pk).is_active
    assert User.objects.get(pk=victim.pk).empowered_at is None


def test_an_admin_made_on_the_server_is_told_to_all_in_persian(told: Any) -> None:
    other, mobile = UserFactory.create(is_staff=True), new_mobile()
    sent = dict(told(lambda: admins.make(mobile=mobile, password=PASSWORD)))
    assert set(sent) >= {other.mobile, mobile}
    assert admins.name(mobile) in sent[other.mobile]
    assert "۰۹۱۳" in sent[other.mobile]


def test_an_sms_that_cannot_be_sent_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    def nobody_there() -> sending.SMSProvider:
        raise Unreachable("no route")

    monkeypatch.setattr(sending, "provider", nobody_there)
    with django_capture_on_commit_callbacks(execute=True):
        admins.make(mobile=new_mobile(), password=PASSWORD)
    assert "notice_not_sent" in caplog.text


# --- staff cannot touch staff ----------------------------------------------------------------------------------------


def test_staff_cannot_touch_staff() -> None:
    clerk = staff_browser("view_user", "change_user", "change_group", "add_group", "delete_group")
    helper, boss = UserFactory.create(is_staff=True), UserFactory.create(is_staff=True, is_superuser=True)
    standard = Tier.objects.get(name="Standard")
    for target in (helper, boss, me(clerk)):
        for change in ({"tier": standard.pk}, {"is_active": None}, {"mobile": "09121112233"}):
            assert save_user(clerk, target, **change) == 403
    customer = UserFactory.create()
    before = customer.mobile
    assert save_user(clerk, customer, tier=standard.pk, mobile="09121112233", is_staff="on") == 302
    customer.refresh_from_db()
    assert (customer.tier, customer.mobile, customer.is_staff) == (standard, before, False)


def test_who_may_change_groups_gives_no_rights_to_themselves() -> None:
    clerk = staff_browser("view_group", "change_group", "add_group", "delete_group")
    group = Group.objects.create(name="clerks")
    me(clerk).groups.add(group)
    permission = Permission.objects.get(codename="approve_adjustment")
    data = {"name": "clerks", "permissions": [permission.pk]}
    assert clerk.post(f"/admin/auth/group/{group.pk}/change/", data).status_code == 403
    assert clerk.post("/admin/auth/group/add/", {**data, "name": "more"}).status_code == 403
    assert not group.permissions.exists()


# --- the audit log ---------------------------------------------------------------------------------------------------


def test_sign_ins_of_admins_and_tries_are_in_the_audit_log() -> None:
    mobile = new_mobile()
    admins.make(mobile=mobile, password=PASSWORD)
    user, browser = User.objects.get(mobile=mobile), Client(REMOTE_ADDR="10.98.7.6")
    code = f"{totp(Authenticator.objects.get(user=user).seed()):06d}"
    typed = {"username": mobile, "password": "my other password", "otp_token": code}
    assert browser.post("/admin/login/?next=/admin/", typed).status_code == 200
    assert browser.post("/admin/login/?next=/admin/", {**typed, "password": PASSWORD}).status_code == 302
    entries = LogEntry.objects.get_for_object(user).filter(action=LogEntry.Action.ACCESS).order_by("id")
    assert [(each.changes["admin sign-in"][1], each.actor, each.remote_addr) for each in entries] == [
        ("refused", None, "10.98.7.6"),
        ("succeeded", user, "10.98.7.6"),
    ]
    assert "my other password" not in str(list(entries.values()))
    page = admin_browser().get(f"/admin/auditlog/logentry/{entries[0].pk}/change/").content.decode()
    assert "Admin sign-in" in page
    assert "refused" in page


def test_a_wrong_code_after_the_right_password_is_in_the_audit_log_too() -> None:
    mobile = new_mobile()
    admins.make(mobile=mobile, password=PASSWORD)
    typed = {"username": mobile, "password": PASSWORD, "otp_token": "12345"}
    assert Client().post("/admin/login/?next=/admin/", typed).status_code == 200
    entry = LogEntry.objects.get_for_object(User.objects.get(mobile=mobile)).latest("id")
    assert entry.changes == {"admin sign-in": ["", "refused"]}


def test_a_new_authenticator_is_in_the_audit_log() -> None:
    mobile = new_mobile()
    for _again in range(2):
        admins.make(mobile=mobile, password=PASSWORD)
    about = LogEntry.objects.filter(content_type__model="authenticator", object_repr=mobile)
    assert list(about.order_by("id").values_list("action", flat=True)) == [
        LogEntry.Action.CREATE,
        LogEntry.Action.DELETE,
        LogEntry.Action.CREATE,
    ]
