"""What the admin's lists and forms write, in Persian and in English."""

import re
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.admin import site
from django.contrib.admin.utils import flatten
from django.db.models import Field
from django.test import Client
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, override

from accounts.shared import formats
from config import roles
from proxy.catalogue.prices.models import ExchangeRate
from tests.admin_browser import admin_browser
from tests.factories import UserFactory
from tests.proxy.factories import UsageRecordFactory

pytestmark = pytest.mark.django_db

THEIRS = {"auditlog.logentry", "axes.accessattempt", "axes.accesslog", "auth.group"}


@pytest.fixture
def persian() -> Client:
    browser = admin_browser()
    browser.cookies["hamiran_language"] = "fa"
    return browser


def text(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def test_a_mobile_number_is_kept_from_left_to_right_wherever_it_stands(persian: Client) -> None:
    user = UserFactory.create()
    for path in ("/admin/accounts/user/", f"/admin/accounts/user/{user.pk}/change/"):
        page = text(persian, path)
        assert page.count(user.mobile) == page.count(f"\u2066{user.mobile}\u2069") > 0, path


def test_the_audit_log_stores_names_as_they_are(persian: Client) -> None:
    user = UserFactory.create()
    persian.post(f"/admin/accounts/user/{user.pk}/block/", {"words": "spam"})
    names = LogEntry.objects.get_for_object(user).values_list("object_repr", flat=True)
    assert set(names) == {user.mobile}


def test_dates_are_jalali_and_figures_persian_in_persian(persian: Client) -> None:
    assert "۱ فروردین ۱۴۰۳" in text(persian, "/admin/wallet/vatrate/")
    UsageRecordFactory.create(prompt_tokens=1_234, cached_tokens=0)
    assert "۱٬۲۳۴" in text(persian, "/admin/proxy/usagerecord/")
    ExchangeRate.objects.create(rial_per_dollar=1_150_000)
    rate = ExchangeRate.objects.get()
    assert (
        "2026" not in text(persian, f"/admin/proxy/exchangerate/{rate.pk}/change/").partition("<h2>")[2][:200]
    )


def test_what_a_request_cost_is_shown_in_toman() -> None:
    record = UsageRecordFactory.create(
        prompt_tokens=1_000, cached_tokens=0, completion_tokens=0, input_rial_per_million=300_000
    )
    for path in ("", f"{record.pk}/change/"):
        page = text(admin_browser(), f"/admin/proxy/usagerecord/{path}")
        assert "30 Toman" in page
        assert "300000000" not in page


def test_every_name_of_a_column_can_be_translated() -> None:
    for model, admin in site._registry.items():
        if model._meta.label_lower in THEIRS:
            continue
        for name in flatten([*admin.list_display, *(admin.fields or ()), *admin.readonly_fields]):
            if name not in {"__str__", "id"}:
                assert isinstance(label(model, admin, name), Promise), (model, name)
        assert isinstance(model._meta.verbose_name, Promise), model


def label(model: Any, admin: Any, name: Any) -> Any:
    if not callable(name):
        found = {field.name: field for field in model._meta.get_fields() if isinstance(field, Field)}.get(
            name
        )
        if found is not None:
            return found.verbose_name
        name = getattr(admin, name)
    return name.short_description


def test_an_app_that_an_owner_sees_has_a_name_of_ours() -> None:
    from django.apps import apps

    for name in (*roles.OUR_APPS, "auditlog", "axes"):
        assert type(apps.get_app_config(name)).__module__.split(".")[0] in roles.OUR_APPS


def test_dates_of_the_admin_are_written_as_on_all_other_pages() -> None:
    assert "20 Mar 2024" in text(admin_browser(), "/admin/wallet/vatrate/")


# --- days that are typed ----------------------------------------------------------------------------------------------


def field(page: str, name: str) -> str:
    found: list[str] = re.findall(f'<input[^>]*name="{name}"[^>]*>', page)
    assert len(found) == 1
    return found[0]


def rate_form(day: str, hour: str = "10:30") -> dict[str, str]:
    return {"rial_per_dollar": "1150000", "valid_from_0": day, "valid_from_1": hour}


@pytest.mark.parametrize("language", ["fa", "en"])
@pytest.mark.parametrize("year", ["1450", "۱۴۵۰", "2071"])
def test_a_day_is_read_by_either_calendar(language: str, year: str) -> None:
    browser = admin_browser()
    browser.cookies["hamiran_language"] = language
    day = f"{year}-06-20" if year == "2071" else f"{year}/۳/۳۰"
    page = browser.post("/admin/proxy/exchangerate/add/", rate_form(day, "۱۰:۳۰")).text
    assert "1150000 2071-06-20T10:30:00+03:30" in page  # what is to be confirmed


def test_a_day_that_is_none_is_refused_and_stays_in_its_field(persian: Client) -> None:
    with override("fa"):
        refusal = gettext("Enter a day such as 1405/09/02 or 2026-11-23.")
    for wrong in ("1450/12/31", "30/3/1450", "soon"):
        page = persian.post("/admin/proxy/exchangerate/add/", rate_form(wrong)).text
        assert refusal in page, wrong
        assert f'value="{wrong}"' in field(page, "valid_from_0")
    assert not ExchangeRate.objects.exists()


def test_what_a_field_holds_is_written_by_the_calendar_of_the_language(persian: Client) -> None:
    today = timezone.localdate()
    page = text(persian, "/admin/proxy/exchangerate/add/")
    assert formats.jalali_day_text(today) in field(page, "valid_from_0")
    assert "vDateField" not in page  # Django's calendar would choose Gregorian days
    persian.cookies["hamiran_language"] = "en"
    page = text(persian, "/admin/proxy/exchangerate/add/")
    assert f'value="{today}"' in field(page, "valid_from_0")
    assert "vDateField" in field(page, "valid_from_0")
