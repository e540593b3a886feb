"""Every change that the admin offers leaves a row in the audit log: who, from where, what.

What is new in the admin (a page to add or change something, an action, an address of its own) has to be put into the
tables here, with how it is done.
"""

import csv
import io
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
from asgiref.sync import async_to_sync
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.conf import settings as django_settings
from django.contrib.admin import site
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import BinaryField, Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import audit, audit_admin, audit_csv
from accounts.admin_models import NumberChange
from accounts.models import Tier, User
from accounts.note_models import UserNote
from accounts.shared import downloads
from keys.models import LimitOverride
from proxy.catalogue import price_changes
from proxy.catalogue.models import LanguageModel, Upstream
from proxy.catalogue.prices.models import ExchangeRate, Price, PriceChange
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.upstreams.rests import HASH, Told, field_of
from tests.admin_browser import admin_browser, staff_browser
from tests.admin_forms import act, fill_in
from tests.factories import TierFactory, UserFactory, WalletFactory
from tests.proxy.factories import (
    APIKeyFactory,
    LanguageModelFactory,
    RouteFactory,
    UpstreamFactory,
)
from wallet.credits import adjustments, promos, sign_up_credit
from wallet.credits.models import Adjustment, PromoCode, SignUpCreditChange
from wallet.ledger.models import Wallet
from wallet.money import micro_from_toman
from wallet.payments.invoice_models import SellerDetails, VATRate
from wallet.payments.models import GatewayChoice, TopUp

pytestmark = pytest.mark.django_db

ADDRESS = "192.0.2.77"
MILLION = micro_from_toman(1_000_000)


def page(model: type[Model], name: str, *arguments: Any) -> str:
    meta = model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=arguments)


def add(browser: Client, kind: type[Model], /, **fields: Any) -> Model:
    fill_in(browser, page(kind, "add"), fields)
    return kind._default_manager.latest("pk")


def change(browser: Client, row: Model, /, **fields: Any) -> Model:
    fill_in(browser, page(type(row), "change", row.pk), fields)
    return row


def delete(browser: Client, row: Model) -> Model:
    assert browser.post(page(type(row), "delete", row.pk), {"post": "yes"}).status_code == 302
    assert not type(row)._default_manager.filter(pk=row.pk).exists()
    return row


def done(browser: Client, action: str, row: Model, **more: str) -> Model:
    act(browser, page(type(row), "changelist"), action, row, **more)
    return row


def deleted(browser: Client, row: Model) -> Model:
    done(browser, "delete_selected", row, post="yes")
    assert not type(row)._default_manager.filter(pk=row.pk).exists()
    return row


def press(browser: Client, button: str, user: User) -> User:
    answer = browser.post(page(User, button, user.pk), {"words": "asked for by telephone"})
    assert answer.status_code == 302
    return user


def note_of(user: User) -> Model:
    return UserNote.objects.get(user=user)


# --- rows that something is done with --------------------------------------------------------------------------------


def customer() -> User:
    return WalletFactory.create(credit_micro=MILLION).user


def colleague() -> User:
    return UserFactory.create(is_staff=True, is_superuser=True)


def number_change() -> NumberChange:
    user, new = customer(), UserFactory.build()
    return NumberChange.objects.create(
        user=user, old_mobile=user.mobile, new_mobile=new.mobile, reason="lost", requested_by=colleague()
    )


def adjustment() -> Adjustment:
    asked = Adjustment(
        wallet=customer().wallet,
        kind="gift",
        amount_micro=micro_from_toman(5_000_000),
        reason="by telephone",
        requested_by=colleague(),
    )
    adjustments.request(adjustment=asked)
    return asked


def promo_code() -> PromoCode:
    promo = PromoCode(
        code=uuid4().hex[:12].upper(),
        amount_micro=micro_from_toman(5_000_000),
        max_uses=1,
        expires_at=timezone.now() + timedelta(days=9),
    )
    promos.make(promo=promo, admin_id=colleague().pk)
    assert promo.waits
    return promo


def limit_override() -> LimitOverride:
    return LimitOverride.objects.create(
        user=customer(),
        ends_at=timezone.now() + timedelta(days=9),
        reason="a launch",
        rpm=5,
        set_by=colleague(),
    )


def credit_change() -> SignUpCreditChange:
    tier = TierFactory.create()
    sign_up_credit.request(tier=tier, amount_micro=MILLION, admin_id=colleague().pk)
    return SignUpCreditChange.objects.get(tier=tier)


def price_change() -> PriceChange:
    model = RouteFactory.create().model
    price_changes.request(
        model_id=model.pk, price=PriceQuote(0, 0), valid_from=timezone.now(), admin_id=colleague().pk
    )
    return PriceChange.objects.get(model=model)


def frozen_wallet() -> Wallet:
    wallet = customer().wallet
    Wallet.objects.filter(pk=wallet.pk).update(frozen_at=timezone.now(), frozen_because="a test")
    return wallet


def topup_under_review() -> TopUp:
    return TopUp.objects.create(
        user=customer(),
        amount_micro=MILLION,
        vat_micro=0,
        gateway="sandbox",
        authority=uuid4().hex,
        status=TopUp.Status.REVIEW,
        returned_at=timezone.now(),
        claimed_at=timezone.now(),
    )


def add_rate(browser: Client) -> Model:
    fields = {"rial_per_dollar": "1,250,000", "valid_from_0": "2030-01-01", "valid_from_1": "00:00:00"}
    shown = browser.post(page(ExchangeRate, "add"), fields)
    seen = shown.context["adminform"].form.data["seen"]
    assert browser.post(page(ExchangeRate, "add"), {**fields, "seen": seen}).status_code == 302
    return ExchangeRate.objects.latest("pk")


def probed(browser: Client) -> Model:
    route = RouteFactory.create(upstream__base_url="http://127.0.0.1:1/v1")
    page_of_test = page(Upstream, "test", route.upstream_id)
    assert browser.post(page_of_test, {"what": f"{route.pk}:chat"}).status_code == 200
    return route.upstream


def woken(browser: Client) -> Model:
    upstream = UpstreamFactory.create()
    told = Told("id", upstream.name, time.time() + 60, times=1, refusals=3, asked_seconds=None)
    with redis.Redis.from_url(django_settings.REDIS_URL) as valkey:
        valkey.hset(HASH, field_of((upstream.pk, "there")), told.encoded())
    browser.post(page(Upstream, "wake", upstream.pk), {"model": "there"})
    return upstream


# --- the tables ------------------------------------------------------------------------------------------------------

# How each change is made. What comes back is the row whose entry has to be there.
CHANGES: dict[str, Callable[[Client], Model]] = {
    "accounts.numberchange add": lambda browser: add(
        browser, NumberChange, old=customer().mobile, new="09121110000", reason="lost"
    ),
    "accounts.numberchange approve": lambda browser: done(browser, "approve", number_change()),
    "accounts.numberchange reject": lambda browser: done(browser, "reject", number_change()),
    "accounts.tier add": lambda browser: add(browser, Tier, name="Gold", rpm="100", tpm="1000000"),
    "accounts.tier change": lambda browser: change(browser, TierFactory.create(), rpm="99"),
    "accounts.tier delete": lambda browser: delete(browser, TierFactory.create()),
    "accounts.tier delete_selected": lambda browser: deleted(browser, TierFactory.create()),
    "accounts.user add": lambda browser: add(
        browser, User, mobile="09121110001", tier=str(Tier.objects.get(is_default=True).pk)
    ),
    "accounts.user change": lambda browser: change(browser, customer(), tier=str(TierFactory.create().pk)),
    "accounts.user block": lambda browser: done(browser, "block", customer()),
    "accounts.user unblock": lambda browser: done(browser, "unblock", UserFactory.create(is_active=False)),
    "accounts.user end_sessions": lambda browser: done(browser, "end_sessions", customer()),
    "accounts.user block page": lambda browser: press(browser, "block", customer()),
    "accounts.user unblock page": lambda browser: press(
        browser, "unblock", UserFactory.create(is_active=False)
    ),
    "accounts.user signout page": lambda browser: press(browser, "signout", customer()),
    "accounts.user note page": lambda browser: note_of(press(browser, "note", customer())),
    "auth.group add": lambda browser: add(browser, Group, name="auditors"),
    "auth.group change": lambda browser: change(
        browser, Group.objects.create(name="auditors"), permissions=[Permission.objects.latest("pk").pk]
    ),
    "auth.group delete": lambda browser: delete(browser, Group.objects.create(name="auditors")),
    "auth.group delete_selected": lambda browser: deleted(browser, Group.objects.create(name="auditors")),
    "keys.apikey revoke_selected": lambda browser: done(browser, "revoke_selected", APIKeyFactory.create()),
    "keys.limitoverride add": lambda browser: add(
        browser, LimitOverride, mobile=customer().mobile, last_day="2030-01-01", reason="a launch", rpm="5"
    ),
    "keys.limitoverride end_now": lambda browser: done(browser, "end_now", limit_override()),
    "proxy.exchangerate add": add_rate,
    "proxy.languagemodel add": lambda browser: add(
        browser, LanguageModel, model_id="audited", context_tokens="9000", max_output_tokens="900"
    ),
    "proxy.languagemodel change": lambda browser: change(
        browser, LanguageModelFactory.create(), description="clever"
    ),
    "proxy.price add": lambda browser: add(
        browser,
        Price,
        model=str(RouteFactory.create().model.pk),
        input_toman="1000",
        output_toman="4000",
        valid_from_0="2026-01-01",
        valid_from_1="00:00",
    ),
    "proxy.pricechange approve": lambda browser: done(browser, "approve", price_change()),
    "proxy.pricechange reject": lambda browser: done(browser, "reject", price_change()),
    "proxy.upstream add": lambda browser: add(
        browser, Upstream, name="audited", base_url="https://93.184.215.14/v1", api_key="sk-very-secret"
    ),
    "proxy.upstream change": lambda browser: change(
        browser, UpstreamFactory.create(base_url="https://93.184.215.14/v1"), api_key="sk-very-secret"
    ),
    "proxy.upstream delete": lambda browser: delete(browser, UpstreamFactory.create()),
    "proxy.upstream delete_selected": lambda browser: deleted(browser, UpstreamFactory.create()),
    "proxy.upstream test page": probed,
    "proxy.upstream wake page": woken,
    "wallet.adjustment add": lambda browser: add(
        browser, Adjustment, mobile=customer().mobile, kind="gift", amount="5", reason="a test"
    ),
    "wallet.adjustment approve": lambda browser: done(browser, "approve", adjustment()),
    "wallet.adjustment reject": lambda browser: done(browser, "reject", adjustment()),
    "wallet.gatewaychoice add": lambda browser: add(browser, GatewayChoice, gateway="none"),
    "wallet.gatewaychoice change": lambda browser: change(
        browser, GatewayChoice.objects.create(), gateway="none"
    ),
    "wallet.promocode add": lambda browser: add(
        browser,
        PromoCode,
        code="audited",
        amount="5",
        **{"expires_at_0": "2030-01-01", "expires_at_1": "00:00"},
    ),
    "wallet.promocode change": lambda browser: change(browser, promo_code(), max_uses="2"),
    "wallet.promocode approve": lambda browser: done(browser, "approve", promo_code()),
    "wallet.sellerdetails change": lambda browser: change(
        browser, SellerDetails.objects.get(), name="Hamiran"
    ),
    "wallet.signupcreditchange approve": lambda browser: done(browser, "approve", credit_change()),
    "wallet.signupcreditchange reject": lambda browser: done(browser, "reject", credit_change()),
    "wallet.topup ask_again": lambda browser: done(browser, "ask_again", topup_under_review()),
    "wallet.vatrate add": lambda browser: add(browser, VATRate, basis_points="900", valid_from="2030-03-21"),
    "wallet.wallet unfreeze": lambda browser: done(browser, "unfreeze", frozen_wallet()),
}
# Addresses of the admin's own that change nothing, and the site's door, which has tests of its own.
READS = {
    "auditlog.logentry csv page",
    "site app_list", "site autocomplete", "site figures", "site figures_csv", "site index",
    "site jsi18n", "site login", "site logout", "site password_change", "site password_change_done",
    "site view_on_site",
}  # fmt: skip
DJANGOS = {"changelist", "add", "history", "delete", "change"}


def offered(rf: Any) -> Iterator[str]:
    """Whatever a superuser, who may do everything, is offered."""
    request = rf.get("/admin/")
    request.user = colleague()
    for model, admin in site._registry.items():
        label = model._meta.label_lower
        if admin.has_add_permission(request):
            yield f"{label} add"
        if admin.has_change_permission(request):
            yield f"{label} change"
        if admin.has_delete_permission(request):
            yield f"{label} delete"
        yield from (f"{label} {action}" for action in admin.get_actions(request))
        for pattern in admin.get_urls():
            own = str(pattern.name or "").rpartition("_")[2]
            if pattern.name and own not in DJANGOS:
                yield f"{label} {own} page"
    registered = {pattern.name for admin in site._registry.values() for pattern in admin.get_urls()}
    yield from (
        f"site {name}"
        for pattern in site.get_urls()
        if (name := getattr(pattern, "name", None)) and name not in registered
    )


def test_every_change_that_the_admin_offers_stands_in_the_table(rf: Any) -> None:
    assert set(offered(rf)) == set(CHANGES) | READS


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_in_the_admin_leaves_its_row(name: str, settings: Any) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["93.184.215.14", "127.0.0.1"]
    admin = colleague()
    browser = admin_browser(admin)
    browser.defaults["REMOTE_ADDR"] = ADDRESS
    row = CHANGES[name](browser)
    entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(type(row)), actor=admin)
    entry = entries.filter(object_pk=str(row.pk)).latest("id")
    assert (entry.remote_addr, bool(entry.changes)) == (ADDRESS, True)
    assert "sk-very-secret" not in str(LogEntry.objects.filter(actor=admin).values_list("changes"))


def test_a_password_that_is_changed_leaves_its_row(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    admin = colleague()
    admin.set_password("correct horse battery")
    admin.save()
    browser = admin_browser(admin)
    new = "another horse battery"
    fields = {"old_password": "correct horse battery", "new_password1": new, "new_password2": new}
    assert browser.post("/admin/password_change/", fields).status_code == 302
    entry = LogEntry.objects.get_for_object(admin).latest("id")
    assert (entry.actor, entry.changes["password"]) == (admin, ["••••", "••••"])


# --- reading it ------------------------------------------------------------------------------------------------------


def texts(browser: Client) -> str:
    return browser.get("/admin/auditlog/logentry/").content.decode()


def of_role(name: str) -> Client:
    admin = UserFactory.create(is_staff=True)
    admin.groups.add(Group.objects.get(name=name))
    return admin_browser(admin)


def test_a_role_reads_what_was_done_with_rows_that_it_may_see() -> None:
    admin = colleague()
    browser = admin_browser(admin)
    upstream, user = UpstreamFactory.create(), customer()
    change(browser, upstream, api_key="sk-new", base_url="https://93.184.215.14/v1")
    done(browser, "block", user)
    change(browser, Group.objects.get(name="support"), permissions=[])
    audit.note_sign_in(user=admin, address=ADDRESS, succeeded=False)
    seen = {
        name: {
            what
            for what, words in {
                "upstream": upstream.name, "user": user.mobile, "group": ">support<", "sign-in": "refused",
            }.items()
            if words in texts(of_role(name))
        }
        for name in ("finance", "catalogue", "owner")
    }  # fmt: skip
    assert seen == {
        "finance": {"user"},
        "catalogue": {"upstream"},
        "owner": {"upstream", "user", "group", "sign-in"},
    }
    entry = LogEntry.objects.get_for_object(user).latest("id")
    path = f"/admin/auditlog/logentry/{entry.pk}/change/"
    assert of_role("finance").get(path).status_code == 200
    assert of_role("catalogue").get(path).status_code == 302


def rows_of(chunks: Iterator[bytes]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(chunks).decode().removeprefix("\ufeff"))))


def content_of(answer: Any) -> Iterator[bytes]:
    async def read() -> list[bytes]:
        return [chunk async for chunk in answer.streaming_content]

    return iter(async_to_sync(read)())


def test_the_file_has_every_entry_once_and_no_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_csv, "BATCH", 3)
    tiers = [TierFactory.create(name=f"=HYPERLINK({number})") for number in range(7)]
    entries = LogEntry.objects.filter(object_repr__startswith="=HYPERLINK")
    header, *rows = rows_of(audit_csv.chunks(entries))
    assert len(header) == 9
    assert [row[5] for row in rows] == [f"'{tier.name}" for tier in reversed(tiers)]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_the_file_is_filtered_as_the_page_is_and_that_it_was_taken_is_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "close_old_connections", lambda: None)  # it has the test's own
    admin = colleague()
    browser = admin_browser(admin)
    tier, upstream = TierFactory.create(), UpstreamFactory.create()
    for query, found in ((f"q={tier.name}", {tier.name}), (f"q={upstream.name}", {upstream.name})):
        answer: Any = browser.get(f"/admin/auditlog/logentry/csv/?{query}")
        rows = rows_of(content_of(answer))
        assert {row[5] for row in rows[1:]} - {f"'{admin}"} == found
        assert LogEntry.objects.get_for_object(admin).latest("id").changes["audit log exported"] == [
            "",
            query,
        ]
    assert f"/admin/auditlog/logentry/csv/?{query}" in browser.get(f"/admin/auditlog/logentry/?{query}").text
    assert browser.get("/admin/auditlog/logentry/csv/?timestamp__gte=never").status_code == 302
    assert staff_browser("view_user").get("/admin/auditlog/logentry/csv/").status_code == 403


SECRET_WORDS = ("encrypted", "digest", "password", "seed", "secret", "token")


def test_no_secret_of_any_model_reaches_the_log() -> None:
    for model in audit_admin.models():
        fields = auditlog.get_model_fields(model)
        for field in model._meta.get_fields():
            if any(word in field.name.split("_") for word in SECRET_WORDS) or isinstance(field, BinaryField):
                is_left_out = field.name in fields["exclude_fields"] or (
                    fields["include_fields"] and field.name not in fields["include_fields"]
                )
                assert is_left_out or field.name in fields["mask_fields"], f"{model._meta.label}.{field.name}"
