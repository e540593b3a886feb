"""What is on sale: which price and route hold at a moment, and how soon a web process sees a change."""

import asyncio
import importlib
import uuid
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.db.utils import OperationalError
from django.utils import timezone

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.api import health
from proxy.api.chat_completions.view import ChatCompletions
from proxy.api.models import Model, Models
from proxy.catalogue import offers, quirks
from proxy.catalogue import served as catalogue
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.price_quote import RIAL_PER_MILLION_MAX, PriceQuote
from proxy.catalogue.served import CatalogueCache
from proxy.catalogue.starter import GEMINI_HOST
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from tests.proxy.factories import LanguageModelFactory, PriceFactory, RouteFactory, UpstreamFactory

URL = "https://93.184.215.14/v1"


def on_sale(**route: Any) -> LanguageModel:
    model = RouteFactory.create(**route).model
    PriceFactory.create(model=model)
    return model


def add(model_id: str, **changes: Any) -> offers.Offer:
    asked: dict[str, Any] = {
        "model_id": model_id,
        "upstream_url": URL,
        "upstream_key": "sk-1",
        "price": PriceQuote(100, 400),
    }
    return offers.add_model(**(asked | changes))


# --- load ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_model_with_price_and_route_is_served_as_its_rows_say() -> None:
    upstream = UpstreamFactory.create(base_url="https://upstream.test/v1/", on_disconnect="drain")
    model = RouteFactory.create(upstream=upstream).model
    PriceFactory.create(model=model, cached_input_rial_per_million=250)
    served = catalogue.load(timezone.now())[model.model_id]
    assert served.price == PriceQuote(1_000, 4_000, 250)
    assert served.created == int(model.created_at.timestamp())
    assert (served.context_tokens, served.max_output_tokens, served.owned_by) == (8_000, 1_000, "hamiran")
    assert served.routes[0].upstream_id == upstream.pk
    assert served.routes[0].base_url == "https://upstream.test/v1"
    assert served.routes[0].api_key == "sk-upstream"
    assert served.routes[0].upstream_model == "name-there"
    assert served.routes[0].on_disconnect == "drain"
    assert "sk-upstream" not in repr(served)


@pytest.mark.django_db
def test_a_price_without_one_for_cached_input_charges_input_for_it() -> None:
    model = on_sale()
    assert catalogue.load(timezone.now())[model.model_id].price.cached_input_rial_per_million == 1_000


@pytest.mark.django_db
def test_the_price_of_a_moment_is_the_last_one_that_began_before_it() -> None:
    model, now = on_sale(), timezone.now()
    PriceFactory.create(model=model, valid_from=now - timedelta(days=9), input_rial_per_million=1)
    PriceFactory.create(model=model, valid_from=now + timedelta(hours=1), input_rial_per_million=2_000)

    def price_at(moment: Any) -> int:
        return catalogue.load(moment)[model.model_id].price.input_rial_per_million

    assert price_at(now - timedelta(days=1)) == 1
    assert price_at(now) == 1_000
    assert price_at(now + timedelta(hours=1)) == 2_000


@pytest.mark.django_db
def test_the_active_route_of_lowest_priority_serves() -> None:
    model = on_sale(priority=50, upstream=UpstreamFactory.create(is_active=False))
    last = RouteFactory.create(model=model, priority=200)
    first = RouteFactory.create(model=model, priority=100)
    now = timezone.now()
    assert catalogue.load(now)[model.model_id].routes[0].upstream_id == first.upstream_id
    Upstream.objects.filter(pk=first.upstream_id).update(is_active=False)
    assert catalogue.load(now)[model.model_id].routes[0].upstream_id == last.upstream_id
    Upstream.objects.filter(pk=last.upstream_id).update(is_active=False)
    assert model.model_id not in catalogue.load(now)


@pytest.mark.django_db
def test_all_active_routes_serve_in_order_with_their_weights_and_their_upstreams_rules() -> None:
    gemini = UpstreamFactory.create(kind="gemini", strip_fields="logprobs", max_in_flight=7)
    model = on_sale(priority=2)
    RouteFactory.create(model=model, upstream=gemini, priority=1, weight=5)
    RouteFactory.create(model=model, upstream=UpstreamFactory.create(is_active=False), priority=0)
    first, second = catalogue.load(timezone.now())[model.model_id].routes
    assert (first.upstream_id, first.priority, first.weight, first.max_in_flight) == (gemini.pk, 1, 5, 7)
    assert first.quirks == quirks.rules_for(kind="gemini", strip_fields="logprobs")
    assert (second.priority, second.weight, second.max_in_flight) == (2, 1, None)
    assert second.quirks == quirks.QUIRKS["openai"]


@pytest.mark.django_db
def test_a_secret_that_cannot_be_read_takes_out_its_own_route_only(caplog: pytest.LogCaptureFixture) -> None:
    model = on_sale(upstream=UpstreamFactory.create(name="lost-one", api_key_encrypted=b"lost"))
    fine = RouteFactory.create(model=model, priority=200)
    routes = catalogue.load(timezone.now())[model.model_id].routes
    assert [route.upstream_id for route in routes] == [fine.upstream_id]
    assert "lost-one" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: RouteFactory.create(weight=0), "route_weight_positive"),
        (lambda: UpstreamFactory.create(max_in_flight=0), "upstream_max_in_flight_positive"),
    ],
)
def test_the_database_refuses_a_weight_and_a_cap_of_nothing(make: Callable[[], object], name: str) -> None:
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        make()


@pytest.mark.django_db
def test_a_process_of_the_version_before_can_still_add_upstreams_and_routes() -> None:
    """During an update; it does not know the new columns."""
    model = LanguageModelFactory.create()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO proxy_upstream (name, base_url, api_key_encrypted, on_disconnect, is_active)"
            " VALUES ('before', 'https://x/v1', '', 'cancel', true) RETURNING id"
        )
        cursor.execute(
            "INSERT INTO proxy_route (model_id, upstream_id, upstream_model, priority) VALUES (%s, %s, 'x', 1)",
            [model.pk, cursor.fetchone()[0]],
        )
    route = Route.objects.select_related("upstream").get(model=model)
    assert (route.weight, route.upstream.kind, route.upstream.strip_fields) == (1, "openai", "")


@pytest.mark.django_db
def test_a_new_gemini_upstream_is_read_to_its_end_unless_told_otherwise() -> None:
    offer = add("g-1", kind=Upstream.Kind.GEMINI)
    assert (offer.kind, offer.on_disconnect) == ("gemini", "drain")
    assert add("g-2").kind == "gemini"  # the upstream is shared, and stays what it is
    told = add(
        "g-3", upstream_key="sk-9", kind=Upstream.Kind.GEMINI, on_disconnect=Upstream.OnDisconnect.CANCEL
    )
    assert told.on_disconnect == "cancel"


@pytest.mark.django_db
def test_a_model_off_sale_or_without_price_is_not_served() -> None:
    off_sale, priceless = on_sale(), RouteFactory.create().model
    LanguageModel.objects.filter(pk=off_sale.pk).update(is_active=False)
    assert not {off_sale.model_id, priceless.model_id} & set(catalogue.load(timezone.now()))


@pytest.mark.django_db
def test_a_secret_that_cannot_be_read_takes_down_its_own_model_only(caplog: pytest.LogCaptureFixture) -> None:
    lost, fine = on_sale(upstream=UpstreamFactory.create(api_key_encrypted=b"lost")), on_sale()
    served = catalogue.load(timezone.now())
    assert fine.model_id in served
    assert lost.model_id not in served
    assert lost.model_id in caplog.text


@pytest.mark.django_db
def test_an_upstream_of_a_kind_to_come_takes_down_its_own_model_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A newer version has written it, while this process is not yet replaced."""
    strange, fine = on_sale(upstream=UpstreamFactory.create(kind="of tomorrow")), on_sale()
    served = catalogue.load(timezone.now())
    assert fine.model_id in served
    assert strange.model_id not in served
    assert "of tomorrow" in caplog.text


@pytest.mark.django_db
def test_an_upstream_at_geminis_host_from_before_there_were_kinds_gets_its_kind() -> None:
    at_gemini = f"https://{GEMINI_HOST}/v1beta/openai"
    primary = UpstreamFactory.create(name="primary", base_url=at_gemini)
    own = UpstreamFactory.create(base_url=at_gemini)
    other = UpstreamFactory.create(base_url=f"https://x.test/{GEMINI_HOST}")
    migration = importlib.import_module("proxy.migrations.0008_gemini_by_host")
    migration.recognise_gemini(apps, None)
    told = {row.pk: (row.kind, row.on_disconnect) for row in Upstream.objects.all()}
    assert told[primary.pk] == ("gemini", "drain")
    assert told[own.pk] == ("gemini", "cancel")
    assert told[other.pk] == ("openai", "cancel")


@pytest.mark.django_db
def test_loading_asks_the_same_few_questions_however_much_is_on_sale(django_assert_num_queries: Any) -> None:
    for _ in range(5):
        on_sale()
    with django_assert_num_queries(4):
        assert len(catalogue.load(timezone.now())) >= 5


# --- the cache -----------------------------------------------------------------------------------------------


class WatchedCache(CatalogueCache):
    """Tells when a refresh has ended."""

    def __init__(self) -> None:
        super().__init__(refresh_seconds=0.02)
        self._ended = asyncio.Event()

    async def refresh(self) -> None:
        await super().refresh()
        self._ended.set()

    async def refreshed(self) -> None:
        """Waits for a refresh that began after now: the second one to end, as the first may be under way."""
        for _ in range(2):
            self._ended.clear()
            await self._ended.wait()


async def test_a_running_process_sees_a_new_price_by_itself(committed_db: None) -> None:
    model = await asyncio.to_thread(_apart, on_sale)
    cache = WatchedCache()
    await cache.start()
    try:
        frozen = cache.get(model.model_id)
        assert frozen is not None
        assert frozen in cache.all()
        await asyncio.to_thread(_apart, lambda: PriceFactory.create(model=model, input_rial_per_million=7))
        await cache.refreshed()
        served = cache.get(model.model_id)
        assert served is not None
        assert served.price.input_rial_per_million == 7
        assert frozen.price.input_rial_per_million == 1_000
        assert cache.get("no-such-model") is None
    finally:
        await cache.close()


async def test_a_database_that_goes_away_leaves_the_last_catalogue_in_use(
    committed_db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_now: Any) -> Any:
        raise OperationalError("away")

    model = await asyncio.to_thread(_apart, on_sale)
    cache = WatchedCache()
    await cache.start()
    try:
        known = cache.get(model.model_id)
        with monkeypatch.context() as patched:
            patched.setattr(catalogue, "load", away)
            await cache.refreshed()
            assert cache.get(model.model_id) == known
            assert "the last one stays in use" in caplog.text
        await asyncio.to_thread(_apart, lambda: PriceFactory.create(model=model, input_rial_per_million=8))
        await cache.refreshed()
        served = cache.get(model.model_id)
        assert served is not None
        assert served.price.input_rial_per_million == 8
    finally:
        await cache.close()


HELLO = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
KEY = KeyIdentity(1, 1, 1, "free", 1, 1, None, 1, 1, None, 5)


async def test_until_the_first_reading_nothing_is_said_of_any_model(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_now: Any) -> Any:
        raise OperationalError("away")

    async def fine(_runtime: Any) -> str:
        return "ok"

    for part in ("_postgresql", "_valkey"):
        monkeypatch.setattr(health, part, fine)
    monkeypatch.setattr(health, "_look_at_migrations", lambda: "ok")
    cache = CatalogueCache()
    now: Any = SimpleNamespace(catalogue=cache, holds=SimpleNamespace(settlements_are_late=False))
    monkeypatch.setattr(runtime, "_current", now)
    request: Any = SimpleNamespace(key=KEY)
    with monkeypatch.context() as patched:
        patched.setattr(catalogue, "load", away)
        await cache.refresh()
    assert not health.is_ready(await health.check(now))
    with pytest.raises(APIError) as caught:
        ChatCompletions().priced(read_payload(HELLO), key=KEY)
    assert caught.value.status == 503
    for answer in (Models().get(request), Model().get(request, "m")):
        with pytest.raises(APIError) as caught:
            await answer
        assert caught.value.status == 503
    await cache.refresh()
    assert health.is_ready(await health.check(now))
    with pytest.raises(APIError) as caught:
        await Model().get(request, "no-such-model")
    assert caught.value.status == 404


def _apart(make: Callable[[], Any]) -> Any:
    try:
        return make()
    finally:
        connection.close()


# --- add_model, set_price ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_adding_a_model_puts_it_on_sale() -> None:
    model_id = f"m-{uuid.uuid4().hex}"
    offer = add(model_id)
    served = catalogue.load(timezone.now())[model_id]
    assert served.routes[0].base_url == URL
    assert served.routes[0].api_key == "sk-1"
    assert served.routes[0].upstream_model == model_id
    assert served.routes[0].on_disconnect == "cancel"
    assert served.price == PriceQuote(100, 400)
    assert (offer.upstream, offer.context_tokens, offer.max_output_tokens) == (
        "93.184.215.14",
        128_000,
        8_192,
    )


@pytest.mark.django_db
def test_adding_it_again_changes_only_what_was_given() -> None:
    model_id = f"m-{uuid.uuid4().hex}"
    add(model_id, upstream_model="there", max_output_tokens=100, context_tokens=900, on_disconnect="drain")
    add(model_id)
    served = catalogue.load(timezone.now())[model_id]
    assert (served.max_output_tokens, served.context_tokens) == (100, 900)
    assert (served.routes[0].upstream_model, served.routes[0].on_disconnect) == ("there", "drain")
    assert Price.objects.filter(model__model_id=model_id).count() == 1
    assert Route.objects.filter(model__model_id=model_id).count() == 1


@pytest.mark.django_db
def test_adding_it_at_another_price_makes_a_new_price_and_keeps_the_old_one() -> None:
    model_id = f"m-{uuid.uuid4().hex}"
    add(model_id)
    add(model_id, price=PriceQuote(150, 400))
    assert catalogue.load(timezone.now())[model_id].price == PriceQuote(150, 400)
    assert Price.objects.filter(model__model_id=model_id).count() == 2


@pytest.mark.django_db
def test_adding_it_at_its_price_keeps_what_cached_input_costs() -> None:
    model_id = f"m-{uuid.uuid4().hex}"
    add(model_id)
    offers.set_price(model=LanguageModel.objects.get(model_id=model_id), price=PriceQuote(100, 400, 10))
    add(model_id)
    assert catalogue.load(timezone.now())[model_id].price == PriceQuote(100, 400, 10)


@pytest.mark.django_db
def test_adding_it_elsewhere_moves_its_first_route_and_no_other_model() -> None:
    one, other = f"m-{uuid.uuid4().hex}", f"m-{uuid.uuid4().hex}"
    first_offer, shared = add(one), add(other)
    assert first_offer.upstream == shared.upstream
    moved = add(one, upstream_key="sk-2")
    served = catalogue.load(timezone.now())
    assert moved.upstream != shared.upstream
    assert served[one].routes[0].api_key == "sk-2"
    assert served[other].routes[0].api_key == "sk-1"
    assert Route.objects.filter(model__model_id=one).count() == 1


@pytest.mark.django_db
def test_a_route_that_stood_behind_comes_first_when_it_is_added() -> None:
    model_id = f"m-{uuid.uuid4().hex}"
    add(model_id, upstream_key="sk-2", upstream_model="second")
    second = Upstream.objects.latest("pk")
    add(model_id)
    RouteFactory.create(model__model_id="x-" + model_id)  # somebody else's
    Route.objects.create(
        model=LanguageModel.objects.get(model_id=model_id),
        upstream=second,
        upstream_model="kept",
        priority=200,
    )
    offer = add(model_id, upstream_key="sk-2")
    assert (offer.upstream, offer.upstream_model) == (second.name, "kept")
    assert catalogue.load(timezone.now())[model_id].routes[0].upstream_id == second.pk


@pytest.mark.django_db
def test_adding_a_model_brings_it_and_its_upstream_back_into_use() -> None:
    model_id = f"m-{uuid.uuid4().hex}"
    add(model_id)
    LanguageModel.objects.filter(model_id=model_id).update(is_active=False)
    Upstream.objects.update(is_active=False)
    add(model_id)
    assert model_id in catalogue.load(timezone.now())


@pytest.mark.django_db
def test_a_price_may_begin_in_the_future() -> None:
    model, now = on_sale(), timezone.now()
    assert offers.set_price(model=model, price=PriceQuote(5, 5), valid_from=now + timedelta(days=1))
    assert catalogue.load(now)[model.model_id].price.input_rial_per_million == 1_000
    assert catalogue.load(now + timedelta(days=1))[model.model_id].price == PriceQuote(5, 5)


# --- what PostgreSQL refuses ---------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("model_context_positive", {"context_tokens": 0}),
        ("model_output_positive", {"max_output_tokens": 0}),
    ],
)
def test_the_database_refuses_a_model_without_room(constraint: str, change: dict[str, int]) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        LanguageModelFactory.create(**change)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("price_bounded", {"cached_input_rial_per_million": RIAL_PER_MILLION_MAX + 1}),
        ("price_further_is_object", {"further": "text"}),
        ("price_bounded", {"input_rial_per_million": RIAL_PER_MILLION_MAX + 1}),
        ("price_bounded", {"output_rial_per_million": RIAL_PER_MILLION_MAX + 1}),
        ("output_rial_per_million_check", {"output_rial_per_million": -1}),
    ],
)
def test_the_database_refuses_a_price_that_cannot_be_charged(constraint: str, change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        PriceFactory.create(**change)


@pytest.mark.django_db
def test_the_database_refuses_two_prices_of_one_moment() -> None:
    price = PriceFactory.create()
    with pytest.raises(IntegrityError, match="price_one_a_moment"), transaction.atomic():
        PriceFactory.create(model=price.model, valid_from=price.valid_from)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE proxy_price SET input_rial_per_million = 1",
        "DELETE FROM proxy_price",
        "TRUNCATE proxy_price",
    ],
)
def test_the_database_refuses_to_change_a_price(statement: str) -> None:
    PriceFactory.create()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(IntegrityError, match="write-once"):
            cursor.execute(statement)


@pytest.mark.django_db
def test_the_database_refuses_two_routes_of_a_model_to_one_upstream() -> None:
    route = RouteFactory.create()
    with pytest.raises(IntegrityError, match="route_once"), transaction.atomic():
        RouteFactory.create(model=route.model, upstream=route.upstream)
