import threading
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from auditlog.models import LogEntry
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.admin_browser import admin_browser
from tests.factories import UserFactory, WalletFactory
from tests.wallet.test_database_rules import refused_by, sql
from wallet import integrity
from wallet.ledger.models import Wallet
from wallet.money import MICRO_PER_RIAL, micro_from_toman
from wallet.payments import invoices, topups, vat
from wallet.payments.gateways import sandbox
from wallet.payments.invoice_models import BuyerDetails, Invoice, InvoiceCounter, SellerDetails, VATRate
from wallet.payments.models import TopUp

TODAY = date(2026, 11, 23)


def credited(wallet: Wallet, *, toman: int = 50_000) -> TopUp:
    """A top-up that was paid."""
    topups.start(user_id=wallet.pk, amount_micro=micro_from_toman(toman), callback_url=lambda topup_id: "/")
    topup = TopUp.objects.filter(user_id=wallet.pk)[0]
    sandbox.decide(str(topup.authority), pays=True)
    topups.settle(topup_id=topup.pk)
    return topup


def browser_of(wallet: Wallet, language: str = "en") -> Client:
    browser = Client()
    browser.force_login(wallet.user)
    browser.cookies["hamiran_language"] = language
    return browser


# --- VAT


@pytest.mark.parametrize(
    ("rial", "basis_points", "vat_rial"),
    [(14, 1_000, 1), (15, 1_000, 2), (16, 1_000, 2), (100, 950, 10), (94, 950, 9), (1, 0, 0), (7, 10_000, 7)],
)
def test_vat_is_rounded_to_a_rial_half_a_rial_up(rial: int, basis_points: int, vat_rial: int) -> None:
    vat_micro = vat.vat_of(net_micro=rial * MICRO_PER_RIAL, basis_points=basis_points)
    assert vat_micro == vat_rial * MICRO_PER_RIAL


@pytest.mark.django_db
def test_the_rate_of_the_day_counts() -> None:
    VATRate.objects.create(basis_points=1_200, valid_from=TODAY)
    for day, basis_points in (
        (date(2024, 3, 19), 0),
        (date(2024, 3, 20), 1_000),
        (TODAY - timedelta(days=1), 1_000),
        (TODAY, 1_200),
    ):
        assert vat.quote(net_micro=10**10, day=day).basis_points == basis_points
    VATRate.objects.create(basis_points=1_100, valid_from=TODAY)  # the one above was a slip
    quote = vat.quote(net_micro=10**10, day=TODAY)
    assert (quote.basis_points, quote.vat_micro, quote.payable_micro) == (1_100, 11 * 10**8, 111 * 10**8)


@pytest.mark.django_db
def test_a_rate_that_changes_meanwhile_does_not_touch_a_payment_under_way() -> None:
    wallet = WalletFactory.create()
    topups.start(user_id=wallet.pk, amount_micro=10**12, callback_url=lambda topup_id: "/")
    VATRate.objects.create(basis_points=2_000, valid_from=date(2025, 1, 1))
    topup = TopUp.objects.get(user_id=wallet.pk)
    sandbox.decide(str(topup.authority), pays=True)
    topups.settle(topup_id=topup.pk)
    invoice = Invoice.objects.get(topup=topup)
    assert (invoice.vat_basis_points, invoice.vat_micro, invoice.total_micro) == (1_000, 10**11, 11 * 10**11)


@pytest.mark.django_db
def test_a_day_without_vat_has_two_legs_and_an_invoice() -> None:
    VATRate.objects.create(basis_points=0, valid_from=TODAY - timedelta(days=365))
    wallet = WalletFactory.create()
    topup = credited(wallet)
    invoice = Invoice.objects.get(topup=topup)
    assert (invoice.vat_micro, invoice.total_micro) == (0, topup.amount_micro)
    assert not [finding for finding in integrity.run(integrity.CHECKS) if str(topup.pk) in finding.detail]


# --- invoices


@pytest.mark.django_db
def test_an_invoice_keeps_what_was_true_when_it_was_issued() -> None:
    wallet = WalletFactory.create()
    SellerDetails.objects.update(name="Hamiran Ltd", economic_code="41100000001", postal_code="1234567890")
    BuyerDetails.objects.create(user=wallet.user, name="Sara", national_id="0012345678")
    topup = credited(wallet)
    SellerDetails.objects.update(name="Another")
    BuyerDetails.objects.update(name="Another")
    invoice = invoices.get(user_id=wallet.pk, topup_id=topup.pk)
    assert invoice.seller_name == "Hamiran Ltd"
    assert invoice.seller_economic_code == "41100000001"
    assert (invoice.buyer_name, invoice.buyer_national_id) == ("Sara", "0012345678")
    assert invoice.buyer_mobile == wallet.user.mobile
    assert (invoice.net_micro, invoice.vat_micro) == (micro_from_toman(50_000), micro_from_toman(5_000))


@pytest.mark.django_db
def test_numbers_follow_each_other_and_a_credit_that_fails_uses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    wallet = WalletFactory.create()
    first = Invoice.objects.get(topup=credited(wallet)).number
    with monkeypatch.context() as patch:
        patch.setattr(Invoice.objects, "create", lambda **fields: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            credited(wallet)
    failed = TopUp.objects.filter(user_id=wallet.pk)[0]
    assert failed.status != TopUp.Status.CREDITED
    assert Invoice.objects.get(topup=credited(wallet)).number == first + 1
    TopUp.objects.filter(pk=failed.pk).update(claimed_at=timezone.now() - topups.CLAIM_LASTS)
    topups.settle(topup_id=failed.pk)
    assert Invoice.objects.get(topup=failed).number == first + 2
    assert InvoiceCounter.objects.get().last_number == first + 2


def test_numbers_have_no_gap_under_parallel_credits(committed_db: None) -> None:
    waiting = []
    for wallet in WalletFactory.create_batch(4):
        for _ in range(3):
            topups.start(user_id=wallet.pk, amount_micro=10**12, callback_url=lambda topup_id: "/")
        for topup in TopUp.objects.filter(user_id=wallet.pk):
            sandbox.decide(str(topup.authority), pays=True)
            waiting.append(topup.pk)
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(waiting))

    def come_back(topup_id: Any) -> None:
        barrier.wait()
        try:
            topups.settle(topup_id=topup_id)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=come_back, args=(topup_id,)) for topup_id in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    numbers = sorted(Invoice.objects.filter(topup_id__in=waiting).values_list("number", flat=True))
    assert numbers == list(range(numbers[0], numbers[0] + len(waiting)))
    assert InvoiceCounter.objects.get().last_number == numbers[-1]


@pytest.mark.django_db
def test_what_was_issued_or_charged_is_never_changed() -> None:
    credited(WalletFactory.create())
    for table, rule in (("invoice", "invoice_append_only"), ("vatrate", "vat_rate_write_once")):
        sql("SET CONSTRAINTS ALL IMMEDIATE")()
        assert refused_by(sql(f"DELETE FROM wallet_{table}")) == rule
        assert refused_by(sql(f"TRUNCATE wallet_{table}")) == rule
    assert refused_by(sql("UPDATE wallet_invoice SET buyer_name = 'x'")) == "invoice_append_only"
    assert refused_by(sql("UPDATE wallet_vatrate SET basis_points = 1")) == "vat_rate_write_once"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"number": 0}, "invoice_number_positive"),
        ({"total_micro": 12}, "invoice_adds_up"),
        ({"net_micro": 0, "total_micro": 1}, "invoice_adds_up"),
        ({"vat_micro": -1, "total_micro": 9}, "invoice_adds_up"),
    ],
)
def test_a_bad_invoice_is_refused(changes: dict[str, int], rule: str) -> None:
    topup = TopUp.objects.create(user=UserFactory.create(), gateway="sandbox", amount_micro=10)
    fields = {"number": 10**9, "net_micro": 10, "vat_micro": 1, "vat_basis_points": 1_000, "total_micro": 11}
    invoice = Invoice(topup=topup, buyer_mobile="+989120000000", **{**fields, **changes})
    assert refused_by(lambda: invoice.save(force_insert=True)) == rule


@pytest.mark.django_db
def test_a_number_or_a_top_up_is_invoiced_once() -> None:
    invoice = Invoice.objects.get(topup=credited(WalletFactory.create()))
    invoice.topup = TopUp.objects.create(user=UserFactory.create(), gateway="sandbox", amount_micro=10)
    assert refused_by(lambda: invoice.save(force_insert=True)) == "wallet_invoice_pkey"
    again = Invoice.objects.get(pk=invoice.pk)
    again.number += 10**6
    assert "topup" in str(refused_by(lambda: again.save(force_insert=True)))


@pytest.mark.django_db
def test_there_is_one_seller_one_counter_and_no_rate_above_the_whole() -> None:
    assert refused_by(lambda: SellerDetails.objects.create(id=2)) == "seller_one_row"
    assert refused_by(lambda: InvoiceCounter.objects.create(id=2)) == "invoice_counter_one_row"
    assert refused_by(sql("UPDATE wallet_invoicecounter SET last_number = -1")) == "invoice_counter_one_row"
    rate = VATRate(basis_points=10_001, valid_from=TODAY)
    assert refused_by(rate.save) == "vat_rate_at_most_whole"


# --- pages


@pytest.mark.django_db
def test_the_invoice_says_everything_in_both_languages() -> None:
    wallet = WalletFactory.create()
    SellerDetails.objects.update(name="Hamiran Ltd", economic_code="41100000001")
    topup = credited(wallet)
    address = reverse("wallet:invoice", args=[topup.pk])
    page = browser_of(wallet).get(address).text
    for words in ("Hamiran Ltd", "41100000001", "50,000 Toman", "VAT (10%)", "5,000 Toman", "55,000 Toman"):
        assert words in page
    persian = browser_of(wallet, "fa").get(address).text
    for words in ("۴۱۱۰۰۰۰۰۰۰۱", "۵۵٬۰۰۰", "۱۰٪"):
        assert words in persian
    issued = Invoice.objects.get(topup=topup).issued_at
    for text in (page, persian):  # both calendars, on both
        assert f" {issued.year}" in text
        assert "۱۴" in text


@pytest.mark.django_db
def test_invoices_of_others_do_not_exist_for_me() -> None:
    topup = credited(WalletFactory.create())
    mine = browser_of(WalletFactory.create())
    assert mine.get(reverse("wallet:invoice", args=[topup.pk])).status_code == 404
    assert mine.get(reverse("wallet:invoice", args=[uuid4()])).status_code == 404
    assert Client().get(reverse("wallet:invoice", args=[topup.pk])).status_code == 302
    assert str(topup.pk) not in mine.get(reverse("wallet:invoices")).text


@pytest.mark.django_db
def test_invoices_are_listed_and_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    wallet = WalletFactory.create()
    made = [credited(wallet).pk for _ in range(3)]
    browser = browser_of(wallet)
    assert reverse("wallet:invoice", args=[made[0]]) in browser.get("/wallet/").text
    first = invoices.page(user_id=wallet.pk, size=2)
    assert [listed.topup_id for listed in first.invoices] == [made[2], made[1]]
    second = invoices.page(user_id=wallet.pk, before=first.older, size=2)
    assert ([listed.topup_id for listed in second.invoices], second.older) == ([made[0]], None)
    for before in ("x", "-1", "9" * 30, "0"):
        assert browser.get(reverse("wallet:invoices"), {"before": before}).status_code == 200


@pytest.mark.django_db
def test_a_buyer_fills_in_what_is_to_stand_there() -> None:
    wallet = WalletFactory.create()
    browser, address = browser_of(wallet), reverse("wallet:invoice_details")
    typed = {
        "name": "شرکت نمونه",
        "national_id": "۱۰۱۰۱۲۳۴۵۶۷",
        "postal_code": "12345-67890",
        "economic_code": "",
    }
    response = browser.post(address, typed, follow=True)
    assert "Saved." in response.text
    details = BuyerDetails.objects.get(pk=wallet.pk)
    assert (details.name, details.national_id, details.postal_code) == (
        "شرکت نمونه",
        "10101234567",
        "1234567890",
    )
    assert "10101234567" in browser.get(address).text
    wrong = browser.post(address, {"national_id": "123", "economic_code": "x", "postal_code": "1"})
    assert wrong.status_code == 400
    for words in ("national ID has 10", "economic code has", "postal code has"):
        assert words in wrong.text
    assert BuyerDetails.objects.get(pk=wallet.pk).national_id == "10101234567"


# --- admin


@pytest.mark.django_db
def test_admins_set_rates_and_the_seller_and_it_is_in_the_audit_log() -> None:
    browser = admin_browser()
    add = reverse("admin:wallet_vatrate_add")
    assert browser.post(add, {"basis_points": "1200", "valid_from": "2027-03-21"}).status_code == 302
    rate = VATRate.objects.get(valid_from=date(2027, 3, 21))
    assert LogEntry.objects.get_for_object(rate).exists()
    for page in ("change", "delete"):
        address = reverse(f"admin:wallet_vatrate_{page}", args=[rate.pk])
        assert browser.post(address, {"basis_points": "1", "post": "yes"}).status_code == 403
    seller = reverse("admin:wallet_sellerdetails_change", args=[1])
    fields = {
        "name": "Hamiran Ltd",
        "economic_code": "۴۱۱۰۰۰۰۰۰۰۱",
        "national_id": "",
        "address": "",
        "postal_code": "",
    }
    assert browser.post(seller, fields).status_code == 302
    assert SellerDetails.objects.get().economic_code == "41100000001"
    assert LogEntry.objects.get_for_object(SellerDetails.objects.get()).exists()
    assert browser.post(reverse("admin:wallet_sellerdetails_add"), fields).status_code == 403


@pytest.mark.django_db
def test_admins_read_invoices_and_change_none() -> None:
    topup = credited(WalletFactory.create())
    invoice = Invoice.objects.get(topup=topup)
    browser = admin_browser()
    listing = reverse("admin:wallet_invoice_changelist")
    assert "55,000 Toman" in browser.get(listing, {"q": str(topup.pk)}).text
    change = reverse("admin:wallet_invoice_change", args=[invoice.pk])
    assert "55,000 Toman" in browser.get(change).text
    assert browser.post(change, {"buyer_name": "x"}).status_code == 403


@pytest.mark.django_db
def test_no_rule_of_these_tables_is_without_a_test_here() -> None:
    models = (VATRate, SellerDetails, InvoiceCounter, Invoice)
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    named = {constraint.name for model in models for constraint in model._meta.constraints}
    assert [name for name in sorted(named) if f'"{name}"' not in text] == []
