"""A model whose upstream keeps answering 429 rests in every web process, until one call finds it well."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from proxy.catalogue.models import Upstream
from proxy.upstreams import resting
from proxy.upstreams.rests import REST_SECONDS
from tests.fake_upstream import FakeUpstream, answer_whole, respond
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import HELLO, Caller, add_model, take_off_sale

RESTING_MODEL = "resting"


@pytest.fixture(scope="module")
def pair(
    web: WebProcess, upstream: FakeUpstream, django_db_blocker: DjangoDbBlocker
) -> Iterator[tuple[WebProcess, WebProcess]]:
    with django_db_blocker.unblock(), web_process(env={"METRICS_TOKEN": "scraper"}) as other:
        add_model(RESTING_MODEL, upstream.url)
        yield web, other
        take_off_sale(RESTING_MODEL)


def asker(caller: Caller) -> Callable[[WebProcess], httpx.Response]:
    http = caller.clients.enter_context(
        httpx.Client(headers={"Authorization": f"Bearer {caller.key}"}, timeout=30)
    )
    body = {"model": RESTING_MODEL, "messages": HELLO}
    return lambda web: http.post(f"{web.url}/v1/chat/completions", json=body)


def test_a_sustained_429_rests_a_model_in_both_processes_and_an_answer_ends_it(
    pair: tuple[WebProcess, WebProcess], make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    one, other = pair
    ask = asker(make_caller())
    for web in pair:
        eventually(lambda web=web: ask(web).status_code == 200)  # type: ignore[misc]
    upstream.script = respond(429, {"error": {"message": "slow down"}})

    def is_left_alone(web: WebProcess) -> bool:
        """Asked once more, the upstream hears nothing of it."""
        before = len(upstream.requests)
        answer = ask(web)
        return (
            answer.status_code == 429
            and len(upstream.requests) == before
            and 1 <= int(answer.headers["retry-after"]) <= REST_SECONDS
        )

    eventually(lambda: is_left_alone(one))  # which alone saw the 429s
    eventually(lambda: is_left_alone(other))
    [rest] = [each for each in resting.listing() if each.told.upstream == f"upstream of {RESTING_MODEL}"]
    assert (rest.upstream_model, rest.told.times) == ("up-model", 1)
    metrics = httpx.get(f"{other.url}/metrics", headers={"Authorization": "Bearer scraper"}).text
    assert f'hamiran_model_resting{{model="up-model",upstream="upstream of {RESTING_MODEL}"}} 1.0' in metrics
    upstream.script = answer_whole()
    eventually(lambda: ask(other).status_code == 200, seconds=REST_SECONDS + 10)  # the one call that tries
    eventually(lambda: ask(one).status_code == 200)
    assert not resting.end((rest.upstream_id, rest.upstream_model))


def test_an_admin_ends_a_rest_in_both_processes(
    pair: tuple[WebProcess, WebProcess], make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    ask = asker(make_caller())
    upstream.script = respond(429, {"error": {"message": "slow down"}}, **{"Retry-After": "250"})
    row = Upstream.objects.get(name=f"upstream of {RESTING_MODEL}")
    key = (row.pk, "up-model")

    def rests() -> bool:
        ask(pair[0])
        return any((each.upstream_id, each.upstream_model) == key for each in resting.listing())

    eventually(rests)
    upstream.script = answer_whole()
    eventually(lambda: int(ask(pair[1]).headers.get("retry-after", 0)) > 60)  # it rests there, too
    assert resting.end(key)
    for web in pair:
        eventually(lambda web=web: ask(web).status_code == 200)  # type: ignore[misc]
