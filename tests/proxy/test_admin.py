"""The admin's catalogue: prices are only added, upstream keys only go in, and every change is on record."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from proxy.catalogue import secrets
from proxy.catalogue import served as catalogue
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.prices.models import Price, PriceChange
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.usage.models import UsageRecord
from tests.admin_browser import admin_browser
from tests.factories import UserFactory
from tests.proxy.factories import (
    LanguageModelFactory,
    PriceFactory,
    RouteFactory,
    UpstreamFactory,
    UsageRecordFactory,
)
from tests.wallet.test_database_rules import refused_by

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    return admin_browser()


def address(model: Any, page: str, *arguments: object) -> str:
    return reverse(f"admin:proxy_{model._meta.model_name}_{page}", args=arguments)


def upstream_form(**fields: str) -> dict[str, str]:
    return {
        "name": f"u-{uuid.uuid4().hex[:8]}",
        "base_url": "https://93.184.215.14/v1/",
        "api_key": "sk-very-secret",
        "kind": "openai",
        "limit_field": "max_tokens",
        "on_disconnect": "cancel",
        "is_active": "on",
    } | fields


def model_form(**fields: object) -> dict[str, object]:
    """A model with one new route row and one new price row, as the browser sends them."""
    form: dict[str, object] = {
        "description": "",
        "description_fa": "",
        "owned_by": "hamiran",
        "endpoints": ["chat"],
        "context_tokens": 9_000,
        "max_output_tokens": 900,
        "template_tokens": 64,
        "tokens_per_100_bytes": 100,
        "tools_tokens_per_100_bytes": 200,
        "is_active": "on",
    }
    for prefix in ("routes", "prices"):
        form |= {f"{prefix}-TOTAL_FORMS": 0, f"{prefix}-INITIAL_FORMS": 0}
    return form | fields


# --- every page --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [LanguageModel, Price, Upstream, UsageRecord])
def test_every_list_and_every_row_opens(browser: Client, model: Any) -> None:
    route = RouteFactory.create()
    price = PriceFactory.create(model=route.model)
    rows: dict[Any, Any] = {
        LanguageModel: route.model,
        Price: price,
        Upstream: route.upstream,
        UsageRecord: UsageRecordFactory.create(),
    }
    assert browser.get(address(model, "changelist")).status_code == 200
    assert browser.get(address(model, "change", rows[model].pk)).status_code == 200


# --- upstreams -----------------------------------------------------------------------------------------------------


def test_an_upstreams_key_goes_in_encrypted_and_never_comes_out(browser: Client) -> None:
    form = upstream_form()
    assert browser.post(address(Upstream, "add"), form).status_code == 302
    upstream = Upstream.objects.get(name=form["name"])
    assert upstream.base_url == "https://93.184.215.14/v1"
    assert secrets.decrypt(upstream.api_key_encrypted) == "sk-very-secret"
    for page in (address(Upstream, "change", upstream.pk), address(Upstream, "changelist")):
        content = browser.get(page).content.decode()
        assert "sk-very-secret" not in content
        assert bytes(upstream.api_key_encrypted).decode() not in content


def test_an_empty_key_keeps_the_present_one(browser: Client) -> None:
    upstream = UpstreamFactory.create(base_url="https://93.184.215.14/v1")
    form = upstream_form(name=upstream.name, api_key="", on_disconnect="drain")
    assert browser.post(address(Upstream, "change", upstream.pk), form).status_code == 302
    upstream.refresh_from_db()
    assert upstream.on_disconnect == "drain"
    assert secrets.decrypt(upstream.api_key_encrypted) == "sk-upstream"


@pytest.mark.parametrize(
    ("url", "stays"),
    [
        ("https://93.184.215.14/other/v1", True),
        ("https://93.184.215.14:443/v1", True),
        ("https://93.184.215.14:8443/v1", False),
        ("https://93.184.215.15/v1", False),
        ("http://93.184.215.14/v1", False),
        ("https://93.184.215.14@93.184.215.15/v1", False),
    ],
)
def test_a_stored_key_never_leaves_for_another_server(
    browser: Client, settings: Any, url: str, stays: bool
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["93.184.215.14"]
    upstream = UpstreamFactory.create(base_url="https://93.184.215.14/v1")
    form = upstream_form(name=upstream.name, api_key="", base_url=url)
    response = browser.post(address(Upstream, "change", upstream.pk), form)
    upstream.refresh_from_db()
    assert (response.status_code == 302, upstream.base_url == url) == (stays, stays)
    assert secrets.decrypt(upstream.api_key_encrypted) == "sk-upstream"


def test_another_server_gets_the_key_that_is_entered_with_it_or_none(browser: Client) -> None:
    upstream = UpstreamFactory.create(base_url="https://93.184.215.15/v1")
    page = browser.post(
        address(Upstream, "change", upstream.pk), upstream_form(name=upstream.name, api_key="")
    )
    assert "The stored key is never sent to another server." in page.content.decode()
    both = browser.post(
        address(Upstream, "change", upstream.pk), upstream_form(name=upstream.name, no_api_key="on")
    )
    assert "Enter a key or tick that none is needed, not both." in both.content.decode()
    for form, key in (
        (upstream_form(name=upstream.name), "sk-very-secret"),
        (
            upstream_form(
                name=upstream.name, api_key="", base_url="https://93.184.215.16/v1", no_api_key="on"
            ),
            "",
        ),
    ):
        assert browser.post(address(Upstream, "change", upstream.pk), form).status_code == 302
        upstream.refresh_from_db()
        assert secrets.decrypt(upstream.api_key_encrypted) == key


def test_the_database_lets_no_stored_key_leave_for_another_server() -> None:
    upstream = UpstreamFactory.create(base_url="https://a.example/v1")

    def moved(url: str, **fields: Any) -> Any:
        return lambda: Upstream.objects.filter(pk=upstream.pk).update(base_url=url, **fields)

    for url in (
        "https://b.example/v1",
        "http://a.example/v1",
        "https://a.example:444/v1",
        "https://a.example.b/v1",
    ):
        assert refused_by(moved(url)) == "upstream_key_stays"
    moved("https://A.example:443/other")()
    moved("https://b.example/v1", api_key_encrypted=secrets.encrypt("sk-b"))()
    moved("https://c.example/v1", api_key_encrypted=b"")()
    moved("https://d.example/v1")()


@pytest.mark.parametrize(
    "url", ["http://93.184.215.14/v1", "https://169.254.169.254/v1", "https://a:b@93.184.215.14/"]
)
def test_an_upstream_that_must_not_be_called_is_refused(browser: Client, url: str) -> None:
    form = upstream_form(base_url=url)
    response = browser.post(address(Upstream, "add"), form)
    assert response.status_code == 200
    assert response.context["adminform"].form.errors["base_url"]
    assert not Upstream.objects.filter(name=form["name"]).exists()


def test_more_fields_to_leave_out_are_kept_as_a_list(browser: Client) -> None:
    form = upstream_form(kind="gemini", strip_fields="logprobs  top_logprobs,x", max_in_flight="50")
    assert browser.post(address(Upstream, "add"), form).status_code == 302
    upstream = Upstream.objects.get(name=form["name"])
    assert (upstream.kind, upstream.strip_fields, upstream.max_in_flight) == (
        "gemini",
        "logprobs, top_logprobs, x",
        50,
    )


@pytest.mark.parametrize(
    ("field", "value"), [("strip_fields", "seed max_tokens"), ("strip_fields", "a-b"), ("max_in_flight", "0")]
)
def test_an_upstream_that_could_not_be_billed_or_called_is_refused(
    browser: Client, field: str, value: str
) -> None:
    response = browser.post(address(Upstream, "add"), upstream_form(**{field: value}))
    assert response.status_code == 200
    assert response.context["adminform"].form.errors


def test_an_allowed_host_needs_no_dot_and_no_tls(browser: Client, settings: Any) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["model-server"]
    form = upstream_form(base_url="http://model-server:8000/v1")
    assert browser.post(address(Upstream, "add"), form).status_code == 302


def test_a_new_key_is_on_record_without_being_in_it(browser: Client) -> None:
    upstream = UpstreamFactory.create()
    form = upstream_form(name=upstream.name, base_url="https://93.184.215.14/v1", api_key="sk-very-secret")
    browser.post(address(Upstream, "change", upstream.pk), form)
    upstream.refresh_from_db()
    entry = LogEntry.objects.get_for_object(upstream).first()
    assert entry is not None
    assert entry.actor is not None
    assert "api_key_encrypted" in entry.changes_dict
    for entry in LogEntry.objects.get_for_object(upstream):
        assert "sk-very-secret" not in str(entry.changes)
        assert bytes(upstream.api_key_encrypted).decode()[20:] not in str(entry.changes)


# --- models and prices -----------------------------------------------------------------------------------------------


def test_a_model_with_route_and_price_is_put_on_sale_in_one_form(browser: Client) -> None:
    upstream = UpstreamFactory.create()
    model_id = f"m-{uuid.uuid4().hex}"
    form = model_form(
        **{
            "model_id": model_id,
            "routes-TOTAL_FORMS": 1,
            "routes-0-upstream": upstream.pk,
            "routes-0-upstream_model": "there",
            "routes-0-protocols": ["messages", "chat"],
            "routes-0-priority": 100,
            "routes-0-weight": 3,
            "prices-TOTAL_FORMS": 1,
            "prices-0-valid_from_0": "2026-01-01",
            "prices-0-valid_from_1": "00:00:00",
            "prices-0-input_toman": "30,000",
            "prices-0-output_toman": "۱۸۰٬۰۰۰٫۵",
        }
    )
    response = browser.post(address(LanguageModel, "add"), form)
    assert response.status_code == 302, response.context["errors"]
    served = catalogue.load(timezone.now())[model_id]
    assert served.price == PriceQuote(300_000, 1_800_005)
    assert served.routes[0].upstream_model == "there"
    assert served.routes[0].weight == 3
    assert sorted(served.endpoints) == ["chat"]
    assert sorted(served.routes[0].protocols) == ["chat", "messages"]


def test_an_endpoint_that_no_route_can_serve_is_refused_with_a_sentence(browser: Client) -> None:
    route = RouteFactory.create()
    form = model_form(
        **{
            "model_id": route.model.model_id,
            "endpoints": ["chat", "messages", "speech"],
            "routes-TOTAL_FORMS": 1,
            "routes-INITIAL_FORMS": 1,
            "routes-0-id": route.pk,
            "routes-0-upstream": route.upstream_id,
            "routes-0-upstream_model": "there",
            "routes-0-protocols": ["messages"],
            "routes-0-priority": 100,
            "routes-0-weight": 1,
        }
    )
    page = address(LanguageModel, "change", route.model_id)
    response = browser.post(page, form)
    assert response.context["errors"] == [
        "No route can serve chat, speech: chat needs chat; speech needs speech."
    ]
    route.refresh_from_db()
    assert route.protocols == ["chat"]
    assert browser.post(page, form | {"endpoints": ["messages"]}).status_code == 302
    route.refresh_from_db()
    assert route.protocols == ["messages"]


def test_a_models_change_page_adds_a_price_and_changes_none(browser: Client) -> None:
    model = LanguageModelFactory.create()
    old = PriceFactory.create(model=model, valid_from=timezone.now() - timedelta(days=9))
    form = model_form(
        **{
            "model_id": model.model_id,
            "prices-TOTAL_FORMS": 2,
            "prices-INITIAL_FORMS": 1,
            "prices-0-id": old.pk,
            "prices-0-input_toman": 1,
            "prices-0-output_toman": 1,
            "prices-0-DELETE": "on",
            "prices-1-valid_from_0": "2026-01-01",
            "prices-1-valid_from_1": "00:00:00",
            "prices-1-input_toman": 700,
            "prices-1-output_toman": 900,
            "prices-1-confirm_jump": "on",
        }
    )
    assert browser.post(address(LanguageModel, "change", model.pk), form).status_code == 302
    prices = Price.objects.filter(model=model).order_by("pk").values_list("input_rial_per_million", flat=True)
    assert list(prices) == [1_000, 7_000]


@pytest.mark.parametrize(
    "fields",
    [
        {"input_toman": 1_000, "cached_input_toman": 10**11},
        {"input_toman": 10**11 - 1},
        {"input_toman": 10**12},
        {"input_toman": -1},
        {"input_toman": ""},
        {"input_toman": "1,000,5"},
        {"input_toman": "1000.25"},
    ],
)
def test_a_price_that_cannot_be_charged_is_an_error_on_the_form(
    browser: Client, fields: dict[str, object]
) -> None:
    model = LanguageModelFactory.create()
    form = price_form(model, output_toman=1_000, **fields)
    response = browser.post(address(Price, "add"), form)
    assert response.status_code == 200
    assert response.context["adminform"].form.errors
    assert not Price.objects.filter(model=model).exists()
    assert not PriceChange.objects.filter(model=model).exists()


def price_form(model: LanguageModel, **fields: object) -> dict[str, object]:
    return {"model": model.pk, "valid_from_0": "2026-01-01", "valid_from_1": "00:00:00", **fields}


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        ({"input_toman": "4,999.9", "output_toman": "19,999.9"}, None),
        ({"input_toman": "200.1", "output_toman": "800.1"}, None),
        ({"input_toman": 5_000, "output_toman": 4_000}, "confirm_jump"),
        ({"input_toman": 1_000, "output_toman": 800}, "confirm_jump"),
        ({"input_toman": 1_000, "output_toman": 0}, "confirm_free"),
        ({"input_toman": 1_000, "output_toman": 4_000, "cached_input_toman": 0}, "confirm_free"),
        ({"input_toman": 1_000, "output_toman": 4_000, "cached_input_toman": 9}, "confirm_jump"),
    ],
)
def test_a_price_far_off_the_last_one_or_of_nothing_asks_first(
    browser: Client, given: dict[str, object], asks: str | None
) -> None:
    model = LanguageModelFactory.create()
    PriceFactory.create(
        model=model,
        valid_from=timezone.now() - timedelta(days=900),
        input_rial_per_million=10_000,
        output_rial_per_million=40_000,
        cached_input_rial_per_million=None,
    )
    form = price_form(model, **given)
    if asks:
        wrong = {"confirm_jump": "confirm_free", "confirm_free": "confirm_jump"}[asks]
        page = browser.post(address(Price, "add"), {**form, wrong: "on"})
        assert set(page.context["adminform"].form.errors) == {asks}
        assert f'type="checkbox" name="{asks}"' in page.content.decode()
        form[asks] = "on"
    assert browser.post(address(Price, "add"), form).status_code == 302
    # What is free is asked of a second admin as well.
    assert Price.objects.filter(model=model).count() == (1 if asks == "confirm_free" else 2)


def test_the_question_shows_both_prices_in_toman_and_rial(browser: Client) -> None:
    model = LanguageModelFactory.create()
    PriceFactory.create(
        model=model,
        valid_from=timezone.now() - timedelta(days=900),
        input_rial_per_million=300_000,
        output_rial_per_million=1_800_000,
    )
    form = price_form(model, input_toman=3_000, output_toman="180,000")
    page = browser.post(address(Price, "add"), form).content.decode()
    assert "input was 30,000 Toman (300,000 Rial) and would be 3,000 Toman (30,000 Rial)" in page
    browser.cookies["hamiran_language"] = "fa"
    assert "۳۰۰٬۰۰۰" in browser.post(address(Price, "add"), form).content.decode()


def test_a_first_price_asks_only_where_it_is_nothing(browser: Client) -> None:
    model = LanguageModelFactory.create()
    free = price_form(model, input_toman=0, output_toman=0)
    assert browser.post(address(Price, "add"), free).status_code == 200
    page = browser.get(address(Price, "add")).content.decode()
    assert 'type="hidden" name="confirm_jump"' in page
    dear = price_form(model, input_toman=20_000_000, output_toman=20_000_000)
    assert browser.post(address(Price, "add"), dear).status_code == 302


def test_a_models_page_asks_likewise(browser: Client) -> None:
    model = LanguageModelFactory.create()
    old = PriceFactory.create(model=model, valid_from=timezone.now() - timedelta(days=9))
    form = model_form(
        **{
            "model_id": model.model_id,
            "prices-TOTAL_FORMS": 2,
            "prices-INITIAL_FORMS": 1,
            "prices-0-id": old.pk,
            "prices-1-valid_from_0": "2026-01-01",
            "prices-1-valid_from_1": "00:00:00",
            "prices-1-input_toman": 7,
            "prices-1-output_toman": 0,
        }
    )
    page = browser.post(address(LanguageModel, "change", model.pk), form).content.decode()
    assert 'type="checkbox" name="prices-1-confirm_jump"' in page
    assert 'type="checkbox" name="prices-1-confirm_free"' in page
    assert Price.objects.filter(model=model).count() == 1


def test_prices_and_usage_records_can_be_seen_and_not_touched(browser: Client) -> None:
    for row in (PriceFactory.create(), UsageRecordFactory.create()):
        assert browser.post(address(type(row), "change", row.pk), {"x": 1}).status_code == 403
        assert browser.post(address(type(row), "delete", row.pk), {"post": "yes"}).status_code == 403
    assert browser.get(address(UsageRecord, "add")).status_code == 403
    assert browser.get(address(Price, "add")).status_code == 200


def test_a_model_is_taken_off_sale_and_not_deleted(browser: Client) -> None:
    model = LanguageModelFactory.create()
    assert browser.post(address(LanguageModel, "delete", model.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", [LanguageModel, Price, Route, Upstream])
def test_every_change_of_the_catalogue_is_in_the_audit_log(model: Any) -> None:
    route = RouteFactory.create()
    rows = {
        LanguageModel: route.model,
        Price: PriceFactory.create(model=route.model),
        Route: route,
        Upstream: route.upstream,
    }
    assert LogEntry.objects.get_for_object(rows[model]).filter(action=LogEntry.Action.CREATE).count() == 1


# --- usage records ---------------------------------------------------------------------------------------------------


def test_usage_is_found_by_mobile_number_user_or_key(browser: Client) -> None:
    user = UserFactory.create()
    mine = UsageRecordFactory.create(user_id=user.pk, key_id=987_654_321)
    UsageRecordFactory.create(user_id=user.pk + 1, key_id=1)
    local = "0" + user.mobile.removeprefix("+98")
    for term in (local, str(user.pk), "987654321", "۹۸۷۶۵۴۳۲۱"):
        found = browser.get(address(UsageRecord, "changelist"), {"q": term}).context["cl"].queryset
        assert list(found) == [mine]
    for term in ("nobody", "9" * 40, "'"):
        found = browser.get(address(UsageRecord, "changelist"), {"q": term}).context["cl"].queryset
        assert not found.exists()


def test_records_of_the_last_month_are_shown_and_older_ones_when_asked_for(browser: Client) -> None:
    records = [
        UsageRecordFactory.create(key_id=4242, created_at=timezone.now() - timedelta(days=days))
        for days in (1, 100, 700)
    ]
    for period, shown in (({}, 1), ({"period": "year"}, 2), ({"period": "all"}, 3)):
        page = browser.get(address(UsageRecord, "changelist"), {"q": "4242", **period})
        found = {record.pk for record in page.context["cl"].result_list}
        assert found == {record.pk for record in records[:shown]}


def test_records_are_found_by_their_endpoint(browser: Client) -> None:
    chat, embedding = UsageRecordFactory.create(), UsageRecordFactory.create(endpoint="embeddings")
    page = browser.get(address(UsageRecord, "changelist"), {"endpoint": "embeddings"})
    found = [record.pk for record in page.context["cl"].result_list]
    assert embedding.pk in found
    assert chat.pk not in found
