"""The status page as people see it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from proxy.catalogue.models import LanguageModel
from proxy.usage.health import counting, report
from proxy.usage.health.models import HealthProgress, ModelHealth
from proxy.usage.models import UsageRecord
from tests.proxy.factories import LanguageModelFactory, PriceFactory, RouteFactory, UsageRecordFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    for model in (UsageRecord, ModelHealth, HealthProgress):
        model.objects.all().delete()
    LanguageModel.objects.update(is_active=False)
    report.kept.forget()
    yield
    report.kept.forget()


def on_sale(model_id: str) -> None:
    model = LanguageModelFactory.create(model_id=model_id)
    PriceFactory.create(model=model, valid_from=timezone.now() - timedelta(days=99))
    RouteFactory.create(model=model)


def calls(model_id: str, count: int, **fields: Any) -> None:
    UsageRecordFactory.create_batch(
        count, model=model_id, created_at=timezone.now() - timedelta(seconds=30), **fields
    )


def page(language: str = "en") -> str:
    browser = Client()
    browser.cookies["hamiran_language"] = language
    shown = browser.get("/status/")
    assert shown.status_code == 200
    return shown.text


def test_it_says_how_each_model_does_and_how_fast() -> None:
    for model_id in ("a/up", "b/failing", "c/down", "d/rare"):
        on_sale(model_id)
    calls("a/up", 40, total_ms=1_000)
    calls("b/failing", 30)
    failed = {"outcome": UsageRecord.Outcome.UPSTREAM_FAILED, "status": 502}
    calls("b/failing", 10, **failed)
    calls("c/down", 20, **failed)
    calls("d/rare", 3)
    counting.count()
    shown = page()
    labels = ("working", "failing in part", "not answering", "too few calls to say")
    places = [shown.index(f">{label}<") for label in labels]
    assert places == sorted(places)
    assert "Some calls are failing." in shown
    assert "75%" in shown
    assert "1.0" in shown
    for count in ("40 ", ">30<", ">20<"):
        assert count not in shown  # how much is asked is the operator's business


def test_without_models_it_says_so_and_still_explains_itself() -> None:
    shown = page()
    assert "No model is on sale right now" in shown
    assert "What the figures mean" in shown


def test_counting_that_is_behind_is_told() -> None:
    on_sale("a/up")
    assert "Nothing has been counted yet." in page()
    report.kept.forget()
    late = timezone.now() - timedelta(minutes=30)
    HealthProgress.objects.create(since=late, counted_until=late)
    assert "Our own counting is behind" in page()


def test_everybody_may_see_it_in_both_languages_from_the_foot_of_every_page() -> None:
    on_sale("a/up")
    assert 'dir="rtl"' in page("fa")
    assert 'href="/status/"' in Client().get("/models/").text
    assert Client().post("/status/").status_code == 405


def test_it_asks_the_database_once_for_all_readers(django_assert_max_num_queries: Any) -> None:
    on_sale("a/up")
    page()
    with django_assert_max_num_queries(0):
        page()
