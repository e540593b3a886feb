"""Prices outside of the bounds: nobody is charged them before a second admin has approved them."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.admin.models import LogEntry as AdminLogEntry
from django.db import connections
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts import approvals
from accounts.models import User
from accounts.sms import sending
from proxy.catalogue import price_changes
from proxy.catalogue import served as catalogue
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices import price_rules
from proxy.catalogue.prices.models import Price, PriceChange
from proxy.catalogue.prices.price_quote import PriceQuote
from tests.admin_browser import admin_browser, staff_browser
from tests.factories import UserFactory
from tests.proxy.factories import LanguageModelFactory, PriceFactory, RouteFactory
from tests.proxy.test_admin import address, model_form, price_form
from tests.wallet.test_database_rules import refused_by, sql

NOW = timezone.now()


@pytest.fixture
def model() -> LanguageModel:
    """On sale for 1,000 Toman in and 4,000 out."""
    price = PriceFactory.create(
        model=RouteFactory.create().model,
        valid_from=NOW - timedelta(days=900),
        input_rial_per_million=10_000,
        output_rial_per_million=40_000,
    )
    return LanguageModel.objects.get(pk=price.model_id)


def add(browser: Client, model: LanguageModel, **fields: object) -> str:
    form = price_form(model, confirm_jump="on", confirm_free="on", **fields)
    return browser.post(address(Price, "add"), form, follow=True).content.decode()


def decide(browser: Client, change: PriceChange, action: str = "approve") -> str:
    chosen = {"action": action, "_selected_action": [str(change.pk)]}
    return browser.post(address(PriceChange, "changelist"), chosen, follow=True).content.decode()


def served(model: LanguageModel) -> PriceQuote:
    return catalogue.load(timezone.now())[model.model_id].price


OLD = PriceQuote(10_000, 40_000)


# --- the bounds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "needs"),
    [
        (PriceQuote(1_000, 1_000), False),
        (PriceQuote(200_000, 200_000), False),
        (PriceQuote(200_000, 200_000, 1), False),
        (PriceQuote(999, 1_000), True),
        (PriceQuote(1_000, 999), True),
        (PriceQuote(200_001, 200_000), True),
        (PriceQuote(200_000, 200_001), True),
        (PriceQuote(1_000, 1_000, 0), True),
    ],
)
def test_one_admin_sets_what_is_within_the_bounds(price: PriceQuote, needs: bool) -> None:
    assert price_rules.needs_second(price, min_rial=1_000, max_rial=200_000) is needs


def test_what_is_free_needs_a_second_admin_whatever_the_minimum() -> None:
    assert price_rules.needs_second(PriceQuote(0, 5), min_rial=0, max_rial=200_000)


@pytest.mark.django_db
def test_the_form_says_the_bounds(settings: Any) -> None:
    settings.PRICE_MIN_TOMAN, settings.PRICE_MAX_TOMAN = 250, 9_000
    page = admin_browser().get(address(Price, "add")).content.decode()
    assert "Below 250 Toman, above 9,000 Toman or free: a second admin decides." in page


@pytest.mark.django_db
def test_one_admin_is_enough_within_the_bounds(model: LanguageModel) -> None:
    page = add(admin_browser(), model, input_toman="۱۰۰", output_toman="20,000,000", cached_input_toman="0.1")
    assert "was added successfully" in page
    assert served(model) == PriceQuote(1_000, 200_000_000, 1)
    assert "100 Toman (1,000 Rial)" in page
    assert not PriceChange.objects.filter(model=model).exists()


# --- a second admin --------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({"input_toman": "99.9", "output_toman": 4_000}, PriceQuote(999, 40_000)),
        ({"input_toman": 1_000, "output_toman": "20,000,000.1"}, PriceQuote(10_000, 200_000_001)),
        ({"input_toman": 0, "output_toman": 0}, PriceQuote(0, 0)),
        (
            {"input_toman": 1_000, "output_toman": 4_000, "cached_input_toman": 0},
            PriceQuote(10_000, 40_000, 0),
        ),
    ],
)
def test_a_price_outside_of_the_bounds_waits_for_another_admin(
    model: LanguageModel, fields: dict[str, object], price: PriceQuote
) -> None:
    first, second = admin_browser(), admin_browser()
    said = add(first, model, **fields)
    assert f"The price of {model} waits for the approval of a second admin: input " in said
    assert "was added successfully" not in said
    assert not AdminLogEntry.objects.filter(object_repr__startswith=str(model)).exists()
    change = PriceChange.objects.get(model=model)
    assert served(model) == OLD
    assert "is already waiting for a second admin" in add(first, model, **fields)
    assert "1,000 Toman (10,000 Rial)" in second.get(address(PriceChange, "changelist")).content.decode()
    assert "another admin has to approve it" in decide(first, change)
    new = UserFactory.create(is_staff=True, is_superuser=True, empowered_at=timezone.now())
    assert "within the last 48 hours" in decide(admin_browser(new), change)
    assert served(model) == OLD
    before = timezone.now()
    assert "1 request was decided." in decide(second, change)
    assert served(model) == price
    assert Price.objects.filter(model=model).latest("valid_from").valid_from >= before
    assert "already been approved or rejected" in decide(second, change)
    assert Price.objects.filter(model=model).count() == 2
    assert LogEntry.objects.get_for_object(change).count() == 2


@pytest.mark.django_db
def test_a_rejected_price_never_holds(model: LanguageModel) -> None:
    add(admin_browser(), model, input_toman=1, output_toman=1)
    change, second = PriceChange.objects.get(model=model), admin_browser()
    assert "1 request was decided." in decide(second, change, "reject")
    assert "already been approved or rejected" in decide(second, change)
    assert served(model) == OLD
    add(admin_browser(), model, input_toman=2, output_toman=2)  # another one may be asked for
    assert PriceChange.objects.filter(model=model, state="pending").count() == 1


@pytest.mark.django_db
def test_a_models_page_asks_a_second_admin_likewise(model: LanguageModel) -> None:
    [old] = Price.objects.filter(model=model)
    row = {"valid_from_0": "2026-01-01", "input_toman": 1, "output_toman": 1, "confirm_jump": "on"}
    rows = {f"prices-1-{name}": value for name, value in {**row, "valid_from_1": "00:00:00"}.items()}
    more = {f"prices-2-{name}": value for name, value in {**row, "valid_from_1": "01:00:00"}.items()}
    form = model_form(
        **{
            "model_id": model.model_id,
            "description": "changed",
            "prices-TOTAL_FORMS": 3,
            "prices-INITIAL_FORMS": 1,
            "prices-0-id": old.pk,
            **rows,
            **more,
        }
    )
    browser, path = admin_browser(), address(LanguageModel, "change", model.pk)
    assert "1,000 Toman (10,000 Rial)" in browser.get(path).content.decode()  # the row that is stored
    both = browser.post(path, form).content.decode()
    assert "Only one price of a model can wait for a second admin at a time." in both
    form |= {"prices-2-input_toman": 500, "prices-2-output_toman": 5_000}
    said = browser.post(path, form, follow=True).content.decode()
    assert "waits for the approval of a second admin" in said
    model.refresh_from_db()
    assert model.description == "changed"
    assert served(model) == PriceQuote(5_000, 50_000)  # the row within the bounds
    assert PriceChange.objects.get(model=model).input_rial_per_million == 10
    added = AdminLogEntry.objects.latest("id").change_message
    assert added.count('"added"') == 1


@pytest.mark.django_db
def test_a_new_model_is_not_sold_before_its_price_is_approved() -> None:
    form = model_form(
        **{
            "model_id": "dear",
            "prices-TOTAL_FORMS": 1,
            "prices-0-valid_from_0": "2026-01-01",
            "prices-0-valid_from_1": "00:00:00",
            "prices-0-input_toman": 20_000_001,
            "prices-0-output_toman": 20_000_001,
        }
    )
    assert admin_browser().post(address(LanguageModel, "add"), form).status_code == 302
    model = LanguageModel.objects.get(model_id="dear")
    RouteFactory.create(model=model)
    assert "dear" not in catalogue.load(timezone.now())
    decide(admin_browser(), PriceChange.objects.get(model=model))
    assert served(model) == PriceQuote(200_000_010, 200_000_010)


@pytest.mark.django_db
def test_a_price_for_later_holds_from_its_moment_on(model: LanguageModel) -> None:
    later = timezone.now() + timedelta(days=9)
    asker, other = UserFactory.create(), UserFactory.create()
    free = PriceQuote(0, 0)
    price_changes.request(model_id=model.pk, price=free, valid_from=later, admin_id=asker.pk)
    price_changes.approve(change_id=PriceChange.objects.get(model=model).pk, admin_id=other.pk)
    assert served(model) == OLD
    assert catalogue.load(later)[model.model_id].price == free


@pytest.mark.django_db
def test_two_prices_of_one_moment_are_refused_in_words(model: LanguageModel) -> None:
    later = timezone.now() + timedelta(days=9)
    price_changes.request(
        model_id=model.pk, price=PriceQuote(0, 0), valid_from=later, admin_id=UserFactory.create().pk
    )
    PriceFactory.create(model=model, valid_from=later)
    change = PriceChange.objects.get(model=model)
    assert "Another price of this model begins at the same moment." in decide(admin_browser(), change)
    change.refresh_from_db()
    assert change.state == "pending"


def test_of_many_approvals_at_once_one_makes_the_price(committed_db: None) -> None:
    model = LanguageModelFactory.create()
    price_changes.request(
        model_id=model.pk, price=PriceQuote(1, 1), valid_from=NOW, admin_id=UserFactory.create().pk
    )
    change, others = PriceChange.objects.get(model=model), [UserFactory.create() for _ in range(4)]
    refused: list[Exception] = []

    def approve(admin: User) -> None:
        try:
            price_changes.approve(change_id=change.pk, admin_id=admin.pk)
        except approvals.AlreadyDecided as error:
            refused.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=approve, args=(admin,)) for admin in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert Price.objects.filter(model=model).count() == 1


@pytest.mark.django_db
def test_all_admins_are_told_of_an_approval(
    model: LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    sent: dict[str, str] = {}

    class Telephone:
        def send_text(self, *, mobile: str, text: str) -> None:
            sent[mobile] = text

    monkeypatch.setattr(sending, "provider", Telephone)
    asker, other = (UserFactory.create(is_staff=True, is_superuser=True) for _ in range(2))
    price_changes.request(model_id=model.pk, price=PriceQuote(5, 50), valid_from=NOW, admin_id=asker.pk)
    with django_capture_on_commit_callbacks(execute=True):
        price_changes.approve(change_id=PriceChange.objects.get(model=model).pk, admin_id=other.pk)
    assert {asker.mobile, other.mobile} <= set(sent)
    assert model.model_id in sent[asker.mobile]


@pytest.mark.django_db
def test_who_may_not_approve_prices_decides_nothing(model: LanguageModel) -> None:
    add(admin_browser(), model, input_toman=1, output_toman=1)
    change = PriceChange.objects.get(model=model)
    decide(staff_browser("view_pricechange", "approve_adjustment"), change)
    assert served(model) == OLD
    decide(staff_browser("view_pricechange", "approve_pricechange"), change)
    assert served(model) == PriceQuote(10, 10)


# --- the rows --------------------------------------------------------------------------------------------------------


def waiting(model: LanguageModel, asker: User, **fields: Any) -> PriceChange:
    price = {"input_rial_per_million": 5, "output_rial_per_million": 5}
    return PriceChange(model=model, requested_by=asker, **{**price, **fields})


@pytest.mark.django_db
def test_changes_cannot_be_edited_deleted_or_made_past_the_prices(model: LanguageModel) -> None:
    asker = UserFactory.create()
    price_changes.request(model_id=model.pk, price=PriceQuote(1, 1), valid_from=NOW, admin_id=asker.pk)
    with pytest.raises(price_changes.AlreadyWaiting):
        price_changes.request(model_id=model.pk, price=PriceQuote(1, 1), valid_from=NOW, admin_id=asker.pk)
    change, browser = PriceChange.objects.get(model=model), admin_browser()
    assert browser.get(address(PriceChange, "change", change.pk)).status_code == 200
    for page in ("change", "delete"):
        assert browser.post(address(PriceChange, page, change.pk), {"post": "yes"}).status_code == 403
    assert browser.post(address(PriceChange, "add"), {"post": "yes"}).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"cached_input_rial_per_million": 10**9 + 1}, "pricechange_bounded"),
        ({"further": ["text"]}, "pricechange_further_is_object"),
        ({"output_rial_per_million": 10**9 + 1}, "pricechange_bounded"),
        ({"state": "approved", "decided_at": NOW, "approved_by": "self"}, "pricechange_two_people"),
        ({"state": "approved", "decided_at": NOW}, "pricechange_state_fits"),
        ({"state": "rejected"}, "pricechange_state_fits"),
    ],
)
def test_a_bad_change_is_refused_by_the_database(
    model: LanguageModel, changes: dict[str, Any], rule: str
) -> None:
    asker = UserFactory.create()
    fields = {**changes, "approved_by": asker} if "approved_by" in changes else changes
    assert refused_by(waiting(model, asker, **fields).save) == rule


@pytest.mark.django_db
def test_what_was_asked_is_never_changed_and_one_waits_at_a_time(model: LanguageModel) -> None:
    asker = UserFactory.create()
    change = waiting(model, asker)
    change.save()
    assert refused_by(waiting(model, asker).save) == "pricechange_one_waits"
    for column in ("input_rial_per_million", "output_rial_per_million", "cached_input_rial_per_million"):
        statement = f"UPDATE proxy_pricechange SET {column} = 1 WHERE id = %s"
        assert refused_by(sql(statement, change.pk)) == "pricechange_fixed"
    statement = """UPDATE proxy_pricechange SET further = '{"components": {"request": 1}}' WHERE id = %s"""
    assert refused_by(sql(statement, change.pk)) == "pricechange_fixed"
    assert refused_by(sql("DELETE FROM proxy_pricechange WHERE id = %s", change.pk)) == "pricechange_fixed"
    price_changes.reject(change_id=change.pk)
    statement = "UPDATE proxy_pricechange SET state = 'pending', decided_at = NULL WHERE id = %s"
    assert refused_by(sql(statement, change.pk)) == "pricechange_fixed"
