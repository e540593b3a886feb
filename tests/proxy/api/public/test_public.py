"""/public/: what anybody may read without a key, from any page."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from accounts.models import Tier
from proxy.api.public import models
from proxy.api.public.price_history import PAGE
from proxy.api.public.view import PER_MINUTE
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices.models import ExchangeRate, Price
from tests.fake_upstream import FakeUpstream
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import MODEL, Caller, add_model, take_off_sale

MODELS, HISTORY = "/public/models.json", "/public/prices/history.json"
PRICED = "priced/model"
BEGAN = datetime(2026, 10, 1, tzinfo=UTC)
BASIS = {
    "dollars": {"components": {"input": 1_000_000, "output": 2_000_000}},
    "markup_basis_points": 1_000,
    "rial_per_dollar": 1_000_000,
    "rate_from": "2026-11-29T20:30:00+00:00",
}


@pytest.fixture(scope="module")
def public(
    web: WebProcess, upstream: FakeUpstream, django_db_blocker: DjangoDbBlocker
) -> Iterator[WebProcess]:
    """A process that has counted none of the other tests' requests, with a model of many price lists."""
    with django_db_blocker.unblock():
        add_model(PRICED, upstream.url)
        model = LanguageModel.objects.get(model_id=PRICED)
        for day in range(PAGE + 2):
            Price.objects.create(
                model=model,
                valid_from=BEGAN - timedelta(days=day),
                input_rial_per_million=day,
                output_rial_per_million=1,
            )
        Price.objects.create(
            model=model,
            valid_from=datetime(2100, 1, 1, tzinfo=UTC),
            input_rial_per_million=1_100_000,
            output_rial_per_million=2_200_000,
            dollar_basis=BASIS,
        )
        with web_process() as process:
            yield process
        take_off_sale(PRICED)


def listed(web: WebProcess) -> dict[str, Any]:
    answer = httpx.get(web.url + MODELS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = answer.json()
    return told


def model_of(told: dict[str, Any], model_id: str) -> dict[str, Any]:
    [found] = [one for one in told["data"] if one["id"] == model_id]
    return dict(found)


def test_the_models_are_those_of_the_list_by_key(public: WebProcess, caller: Caller) -> None:
    with httpx.Client(headers={"Authorization": f"Bearer {caller.key}"}) as http:
        with_key = http.get(f"{public.url}/v1/models").json()["data"]
    for one in with_key:
        assert one.pop("limits")
    told = listed(public)
    assert told["object"] == "list"
    assert [one for one in told["data"] if one["id"] in {MODEL, PRICED}] == [
        one for one in with_key if one["id"] in {MODEL, PRICED}
    ]


def test_prices_to_come_are_announced_with_their_date(public: WebProcess) -> None:
    [announced] = model_of(listed(public), PRICED)["announced"]
    assert announced == {
        "currency": "toman",
        "per_million": {"input": 110_000, "output": 220_000},
        "valid_from": "2100-01-01T00:00:00Z",
        "dollar_basis": {
            "toman_per_dollar": 100_000,
            "rate_from": "2026-11-29T20:30:00Z",
            "markup_percent": 10,
            "dollars": {"per_million": {"input": 1, "output": 2}},
        },
    }


def test_the_limits_of_each_tier_stand_beside_them(public: WebProcess) -> None:
    standard = Tier.objects.get(name="Standard")
    [tier] = [tier for tier in listed(public)["tiers"] if tier["name"] == "Standard"]
    assert tier == {
        "name": "Standard",
        "is_default": False,
        "lifetime_topup_toman": 100_000,
        "limits": {
            "rpm": standard.rpm,
            "tpm": standard.tpm,
            "concurrency": standard.concurrency,
            "rpd": None,
            "tpd": None,
        },
        "account_limits": {
            "rpm": standard.rpm * 5,
            "tpm": standard.tpm * 5,
            "concurrency": standard.concurrency and standard.concurrency * 5,
            "rpd": None,
            "tpd": None,
        },
    }


@pytest.mark.django_db
def test_the_rate_is_the_one_that_holds_now() -> None:
    assert models.beside_models()["rate"] is None
    for days, rial in ((-2, 900_000), (-1, 1_000_005), (1, 2_000_000)):
        at = timezone.now() + timedelta(days=days)
        ExchangeRate.objects.create(valid_from=at.replace(microsecond=0), rial_per_dollar=rial)
    rate = models.beside_models()["rate"]
    assert rate["toman_per_dollar"] == 100_000.5
    assert datetime.fromisoformat(rate["valid_from"]) < timezone.now()


def test_a_price_that_is_set_soon_shows(public: WebProcess, committed_db: None) -> None:
    model = LanguageModel.objects.get(model_id=PRICED)
    Price.objects.create(model=model, input_rial_per_million=77_770, output_rial_per_million=1)
    eventually(
        lambda: model_of(listed(public), PRICED)["pricing"]["per_million"]["input"] == 7_777, seconds=20
    )


def test_every_price_list_is_in_the_history_page_by_page(public: WebProcess) -> None:
    first = httpx.get(public.url + HISTORY, params={"model": PRICED}).json()
    assert (first["object"], first["page"], first["has_more"]) == ("list", 1, True)
    assert len(first["data"]) == PAGE
    second = httpx.get(first["next"]).json()
    assert (second["page"], second["has_more"], second["next"]) == (2, False, None)
    lists = first["data"] + second["data"]
    stored = Price.objects.filter(model__model_id=PRICED).order_by("-valid_from")
    assert {one["model"] for one in lists} == {PRICED}
    assert [one["pricing"]["valid_from"] for one in lists] == [
        price.valid_from.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for price in stored
    ]
    assert [one["valid_until"] for one in lists] == [
        None,
        *(one["pricing"]["valid_from"] for one in lists[:-1]),
    ]
    assert lists[0]["pricing"]["dollar_basis"]["toman_per_dollar"] == 100_000


def test_the_history_of_all_is_that_of_what_is_on_sale(public: WebProcess) -> None:
    models = {one["model"] for one in httpx.get(public.url + HISTORY).json()["data"]}
    assert {MODEL, PRICED} <= models <= {one["id"] for one in listed(public)["data"]}


@pytest.mark.parametrize(
    ("query", "status", "code", "param"),
    [
        ({"model": "no-such"}, 404, "model_not_found", "model"),
        ({"page": "0"}, 400, "invalid_value", "page"),
        ({"page": "1001"}, 400, "invalid_value", "page"),
        ({"page": "²"}, 400, "invalid_value", "page"),
    ],
)
def test_a_page_that_cannot_be_is_refused(
    public: WebProcess, query: dict[str, str], status: int, code: str, param: str
) -> None:
    answer = httpx.get(public.url + HISTORY, params=query)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_page_beyond_the_last_is_empty(public: WebProcess) -> None:
    beyond = httpx.get(public.url + HISTORY, params={"page": "900"}).json()
    assert (beyond["data"], beyond["has_more"], beyond["next"]) == ([], False, None)


@pytest.mark.parametrize("path", [MODELS, HISTORY])
def test_any_page_may_read_it_and_caches_may_keep_it(public: WebProcess, path: str) -> None:
    origin = {"Origin": "https://any.example"}
    answer = httpx.get(public.url + path, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "public, max-age=60"
    preflight = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "if-none-match"}
    allowed = httpx.options(public.url + path, headers={**origin, **preflight})
    assert (allowed.status_code, allowed.content) == (204, b"")
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert "*" in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in allowed.headers
    assert httpx.post(public.url + path).json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", [MODELS, HISTORY])
def test_it_is_not_sent_again_to_a_client_that_has_it(public: WebProcess, path: str) -> None:
    def same() -> bool:
        first = httpx.get(public.url + path)
        again = httpx.get(public.url + path, headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
        return (again.status_code, again.content) == (304, b"") and "content-length" not in again.headers

    eventually(same)  # it may be made anew in between
    head = httpx.head(public.url + path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"]


def test_an_address_has_a_limit_with_a_true_wait(public: WebProcess) -> None:
    with httpx.Client() as http:
        answers = [http.head(public.url + MODELS) for _ in range(PER_MINUTE + 1)]
    refused = answers[-1]
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["access-control-allow-origin"] == "*"
