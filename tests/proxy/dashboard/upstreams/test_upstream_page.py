"""An upstream's page in the admin: the test call, and models that rest."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from auditlog.models import LogEntry
from django.conf import settings as django_settings
from django.test import Client

from proxy.catalogue.endpoints import PROTOCOLS
from proxy.catalogue.models import Route, Upstream
from proxy.dashboard.upstreams import probe
from proxy.upstreams.rests import HASH, Told, field_of
from tests.admin_browser import admin_browser, staff_browser
from tests.fake_upstream import FakeUpstream, answer_whole, respond
from tests.proxy.factories import RouteFactory, UpstreamFactory

pytestmark = pytest.mark.django_db
SECRET = "sk-upstream"  # as the factory stores it


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    fake = FakeUpstream()
    yield fake
    fake.close()


@pytest.fixture
def browser() -> Client:
    return admin_browser()


@pytest.fixture
def route(fake: FakeUpstream, settings: Any) -> Route:
    fake.reset()
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    return RouteFactory.create(upstream__base_url=fake.url, protocols=list(PROTOCOLS))


@pytest.fixture
def valkey() -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        client.delete(HASH)
        yield client
        client.delete(HASH)


def page_of(upstream: Upstream, name: str) -> str:
    return f"/admin/proxy/upstream/{upstream.pk}/{name}/"


def press(browser: Client, route: Route, protocol: str = "chat") -> Any:
    return browser.post(page_of(route.upstream, "test"), {"what": f"{route.pk}:{protocol}"})


# --- the test call ---------------------------------------------------------------------------------------------------


def test_every_protocol_of_upstreams_can_be_tested() -> None:
    assert set(probe.REQUESTS) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_small_real_call_is_made_in_the_chosen_protocol(
    browser: Client, route: Route, fake: FakeUpstream, protocol: str
) -> None:
    page = press(browser, route, protocol)
    outcome = page.context["outcome"]
    assert (outcome.status, outcome.error) == (200, "")
    assert 0 <= outcome.first_byte_ms <= outcome.total_ms
    assert fake.paths == ["/v1" + probe.REQUESTS[protocol][0].path]
    [asked] = fake.requests
    assert asked["model"] == route.upstream_model
    assert fake.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert "It answered." in page.text
    assert SECRET not in page.text
    entry = LogEntry.objects.get_for_object(route.upstream).latest("id")
    assert entry.changes["test call"][1].startswith(f"{route.model} {protocol}: 200 in ")


def test_the_usage_that_the_upstream_tells_is_shown(
    browser: Client, route: Route, fake: FakeUpstream
) -> None:
    fake.script = answer_whole(usage={"prompt_tokens": 41, "completion_tokens": 2, "total_tokens": 43})
    assert "prompt_tokens&quot;: 41" in press(browser, route).text


def test_the_answer_is_capped_by_the_name_that_the_upstream_obeys(
    browser: Client, route: Route, fake: FakeUpstream
) -> None:
    Upstream.objects.filter(pk=route.upstream_id).update(limit_field="max_completion_tokens")
    press(browser, route)
    assert fake.requests[0]["max_completion_tokens"] == probe.ANSWER_TOKENS
    assert "max_tokens" not in fake.requests[0]


@pytest.mark.parametrize(
    ("status", "said", "shown"),
    [
        (400, "temperature is not supported for name-there", "temperature is not supported for the model"),
        (401, f"Incorrect API key provided: {SECRET}", "status 401"),
        (429, "You exceeded your current quota", "Rate limit exceeded"),
        (500, "boom", "status 500"),
    ],
)
def test_what_went_wrong_is_told_without_secrets(
    browser: Client, route: Route, fake: FakeUpstream, status: int, said: str, shown: str
) -> None:
    fake.script = respond(status, {"error": {"message": said}})
    page = press(browser, route)
    assert "It did not answer as it should." in page.text
    assert shown in page.context["outcome"].error
    assert SECRET not in page.text
    assert SECRET not in str(LogEntry.objects.get_for_object(route.upstream).latest("id").changes)


def test_an_answer_that_is_none_is_told(browser: Client, route: Route, fake: FakeUpstream) -> None:
    fake.script = respond(200, b"<html>", content_type="text/html")
    assert "no JSON" in press(browser, route).text
    fake.script = respond(200, {"error": {"message": "x"}})
    assert "an error within a 200" in press(browser, route).text
    nobody_there = RouteFactory.create(upstream__base_url="http://127.0.0.1:1/v1")
    outcome = press(browser, nobody_there).context["outcome"]
    assert (outcome.status, outcome.first_byte_ms, bool(outcome.error)) == (None, None, True)


def test_an_address_that_may_not_be_called_is_not(
    browser: Client, route: Route, fake: FakeUpstream, settings: Any
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = []
    page = press(browser, route)
    assert page.context["outcome"] is None
    assert "must start with https" in page.text
    assert not fake.requests


def test_one_test_of_an_upstream_at_a_time(
    browser: Client, route: Route, fake: FakeUpstream, valkey: "redis.Redis"
) -> None:
    turn = f"hamiran:upstream-test:{route.upstream_id}"
    valkey.set(turn, b"1", ex=60)
    assert "Another test of this upstream is under way." in press(browser, route).text
    assert not fake.requests
    valkey.delete(turn)
    assert press(browser, route).context["outcome"].is_well
    assert press(browser, route).context["outcome"].is_well  # the turn was given back


def test_only_routes_of_the_upstream_can_be_tested(browser: Client, route: Route, fake: FakeUpstream) -> None:
    other = RouteFactory.create()
    answer = browser.post(page_of(route.upstream, "test"), {"what": f"{other.pk}:chat"})
    assert answer.context["outcome"] is None
    assert not fake.requests
    assert (
        "No model is served by this upstream yet"
        in browser.get(page_of(UpstreamFactory.create(), "test")).text
    )


def test_testing_and_waking_need_the_right_to_change_upstreams(route: Route, fake: FakeUpstream) -> None:
    reader = staff_browser("view_upstream")
    assert press(reader, route).status_code == 403
    assert reader.post(page_of(route.upstream, "wake"), {"model": "x"}).status_code == 403
    assert not fake.requests
    changer = staff_browser("change_upstream")
    assert changer.get("/admin/proxy/upstream/999999/test/").status_code == 404
    assert changer.get(page_of(route.upstream, "wake")).status_code == 405


# --- models that rest ------------------------------------------------------------------------------------------------


def rest(valkey: "redis.Redis", upstream: Upstream, model: str, *, seconds: float) -> None:
    told = Told("id", upstream.name, time.time() + seconds, times=1, refusals=4, asked_seconds=40)
    valkey.hset(HASH, field_of((upstream.pk, model)), told.encoded())


def test_the_page_shows_which_models_rest_and_ends_a_rest(
    browser: Client, route: Route, valkey: "redis.Redis"
) -> None:
    path = page_of(route.upstream, "change")
    assert "Models that rest" not in browser.get(path).text
    rest(valkey, route.upstream, "large:model", seconds=60)
    rest(valkey, route.upstream, "small", seconds=-1)
    rest(valkey, UpstreamFactory.create(), "of another", seconds=60)
    valkey.hset(HASH, "5:strange", "{}")
    page = browser.get(path).text
    for words in ("large:model", "429 answers in a row: 4.", "asked for 40 seconds", "is being tried again"):
        assert words in page
    assert "of another" not in page
    ended = browser.post(page_of(route.upstream, "wake"), {"model": "large:model"}, follow=True).text
    assert "The rest of large:model is over." in ended
    assert not valkey.hexists(HASH, field_of((route.upstream_id, "large:model")))
    again = browser.post(page_of(route.upstream, "wake"), {"model": "large:model"}, follow=True).text
    assert "This model does not rest." in again


def test_the_page_opens_without_valkey(browser: Client, route: Route, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1"
    assert "nobody knows which models rest" in browser.get(page_of(route.upstream, "change")).text
    assert "Valkey is away" in press(browser, route).text
    wake = browser.post(page_of(route.upstream, "wake"), {"model": "x"}, follow=True)
    assert "Valkey is away" in wake.text
