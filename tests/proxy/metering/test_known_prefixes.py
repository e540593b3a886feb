"""A turn is held near its cost once the turn before it has been counted; where nothing is known, it is held as ever."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio

from proxy.api.chat_completions.request import ChatRequest, read_request
from proxy.catalogue.learning import EXCEEDED
from proxy.catalogue.served import ServedModel
from proxy.http.parsing import read_payload
from proxy.limits import limiter as limits_module
from proxy.limits import prefix_store
from proxy.limits.limiter import Limiter
from proxy.limits.prefix_store import PrefixStore
from proxy.limits.valkey import Client, connect
from proxy.metering import known_prefixes
from proxy.metering.known_prefixes import KnownPrefixes
from tests.proxy.factories import served_model, served_route
from tests.valkey_servers import Server, server

ROUTES = (served_route(1), served_route(2, priority=200))
MODEL = served_model(routes=ROUTES[:1], context_tokens=10**6)
FIRST = [{"role": "user", "content": "one two " * 12_500}]  # 100 kB, and 25,000 tokens
SECOND = [*FIRST, {"role": "assistant", "content": "three"}, {"role": "user", "content": "four"}]
TOKENS = 25_000


@pytest.fixture(scope="module")
def alone() -> Iterator[Server]:
    with server() as one:
        yield one


@pytest_asyncio.fixture
async def client(alone: Server) -> AsyncIterator[Client]:
    made = connect(f"unix://{alone.folder}/socket")
    await cast(Any, made).flushall()
    yield made
    await made.aclose()


@pytest.fixture
def store(client: Client) -> PrefixStore:
    return PrefixStore(Limiter(client, running_seconds=600))


def request(messages: list[dict[str, str]], **fields: Any) -> ChatRequest:
    body = json.dumps({"model": "m", "messages": messages, **fields})
    return read_request(read_payload(body.encode()), model="m")


def look_up(
    store: PrefixStore, asked: ChatRequest, *, model: ServedModel = MODEL, user_id: int = 1
) -> KnownPrefixes | None:
    return known_prefixes.look_up(cast(Any, SimpleNamespace(prefixes=store)), asked, model, user_id=user_id)


async def bound(store: PrefixStore, asked: ChatRequest, **whose: Any) -> int:
    known = look_up(store, asked, **whose)
    assert known is not None
    return await known.bound()


async def count(store: PrefixStore, asked: ChatRequest, tokens: int, *, by: int = 0, **whose: Any) -> None:
    """Lets a route's upstream report the tokens of a request."""
    known = look_up(store, asked, **whose)
    assert known is not None
    await known.bound()
    known.counted(known.model.routes[by], tokens)
    if (reply := store.find(known.user_id, ["nothing"])) is not None:
        await reply  # comes when all that was told before it is carried out


async def test_the_next_turn_is_bounded_by_what_was_counted_and_what_is_new(store: PrefixStore) -> None:
    asked = request(SECOND)
    assert await bound(store, asked) == asked.prompt_bound(MODEL) > 100_000
    await count(store, request(FIRST), TOKENS)
    assert TOKENS < await bound(store, asked) < TOKENS + 300
    assert TOKENS <= await bound(store, request(FIRST)) < TOKENS + 100


async def test_the_longest_prefix_counts(store: PrefixStore) -> None:
    await count(store, request(FIRST), TOKENS)
    await count(store, request(SECOND), TOKENS + 30)
    assert TOKENS + 30 < await bound(store, request([*SECOND, *SECOND[1:]])) < TOKENS + 230


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": 2},
        {"model": served_model(model_id="another", routes=ROUTES[:1], context_tokens=10**6)},
        {"model": served_model(routes=ROUTES[1:], context_tokens=10**6)},
        {"model": served_model(routes=(served_route(1, upstream_model="newer"),), context_tokens=10**6)},
    ],
    ids=["account", "model", "upstream", "model there"],
)
async def test_nobody_elses_count_is_known(store: PrefixStore, other: dict[str, Any]) -> None:
    await count(store, request(FIRST), TOKENS)
    assert await bound(store, request(SECOND), **other) > 100_000


@pytest.mark.parametrize("change", [{"tools": []}, {"response_format": {"type": "json_object"}}], ids=str)
async def test_a_changed_body_is_another_prompt(store: PrefixStore, change: dict[str, Any]) -> None:
    await count(store, request(FIRST), TOKENS)
    assert await bound(store, request(SECOND, **change)) > 100_000


async def test_a_new_pepper_forgets_everything(store: PrefixStore, settings: Any) -> None:
    await count(store, request(FIRST), TOKENS)
    settings.PEPPERS = {9: b"another", **settings.PEPPERS}
    assert await bound(store, request(SECOND)) > 100_000


async def test_of_upstreams_that_share_the_traffic_each_has_to_have_counted(store: PrefixStore) -> None:
    both = served_model(routes=(ROUTES[0], served_route(2)), context_tokens=10**6)
    await count(store, request(FIRST), TOKENS, model=both)
    assert await bound(store, request(SECOND), model=both) > 100_000
    await count(store, request(FIRST), 2 * TOKENS, model=both, by=1)
    assert 2 * TOKENS < await bound(store, request(SECOND), model=both) < 2 * TOKENS + 300


async def test_an_upstream_that_waits_behind_the_first_is_bounded_apart(store: PrefixStore) -> None:
    both = served_model(routes=ROUTES, context_tokens=10**6)
    await count(store, request(FIRST), TOKENS, model=both)
    known = look_up(store, request(SECOND), model=both)
    assert known is not None
    assert await known.bound() == known.bound_at(ROUTES[0]) < TOKENS + 300
    assert known.bound_at(ROUTES[1]) > 100_000


async def test_what_would_be_above_the_plain_bound_is_not_used(store: PrefixStore) -> None:
    await count(store, request(FIRST), 10**6)
    asked = request(SECOND)
    assert await bound(store, asked) == asked.prompt_bound(MODEL)


async def test_a_count_above_the_bound_raises_the_alarm_once_and_is_not_believed_again(
    store: PrefixStore, caplog: pytest.LogCaptureFixture
) -> None:
    await count(store, request(FIRST), TOKENS)
    before = EXCEEDED.labels("m", "known_prefix")._value.get()
    with caplog.at_level(logging.ERROR):
        await count(store, request(SECOND), 2 * TOKENS)
    assert EXCEEDED.labels("m", "known_prefix")._value.get() == before + 1
    [alarm] = [record for record in caplog.records if record.name == "proxy.metering.known_prefixes"]
    assert vars(alarm)["tokens"] == 2 * TOKENS > vars(alarm)["bound"]
    assert look_up(store, request(SECOND)) is None


async def test_a_count_at_the_bound_raises_no_alarm(
    store: PrefixStore, caplog: pytest.LogCaptureFixture
) -> None:
    await count(store, request(FIRST), TOKENS)
    await count(store, request(SECOND), await bound(store, request(SECOND)))
    assert not [record for record in caplog.records if record.name == "proxy.metering.known_prefixes"]


async def test_a_short_prompt_is_not_asked_about(store: PrefixStore) -> None:
    assert look_up(store, request([{"role": "user", "content": "Hello"}])) is None


async def test_nothing_but_numbers_is_kept_under_names_that_tell_nothing_and_for_an_hour(
    store: PrefixStore, client: Client
) -> None:
    await count(store, request(FIRST), TOKENS)
    server = cast(Any, client)
    [name] = await server.keys("*")
    assert name.startswith(b"hamiran:{user 1}:prefix:")
    assert len(bytes.fromhex(name.rpartition(b":")[2].decode())) == known_prefixes.NAME_BYTES
    assert await server.get(name) == b"%d" % TOKENS
    assert prefix_store.KEPT_SECONDS - 60 < await server.ttl(name) <= prefix_store.KEPT_SECONDS


async def test_without_valkey_the_bound_is_the_plain_one(
    alone: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "VALKEY_RETRY_SECONDS", 600)
    nowhere = connect(f"unix://{alone.folder}/nobody-listens")
    limiter = Limiter(nowhere, running_seconds=600)
    store, asked = PrefixStore(limiter), request(SECOND)
    known = look_up(store, asked)
    assert known is not None
    assert await known.bound() == asked.prompt_bound(MODEL)
    known.counted(MODEL.routes[0], TOKENS)
    await limiter.finish(
        user_id=1, key_id=1, request_id="r", estimate=1, tokens=1
    )  # which notices that it is away
    assert look_up(store, asked) is None
    known.counted(MODEL.routes[0], TOKENS)
    await nowhere.aclose()


async def test_one_server_or_a_cluster_keeps_what_was_counted(limits_url: str) -> None:
    client = connect(limits_url)
    limiter = Limiter(client, running_seconds=600)
    store = PrefixStore(limiter)
    await count(store, request(FIRST), TOKENS, user_id=40_000_001)
    assert await bound(store, request(SECOND), user_id=40_000_001) < TOKENS + 300
    await client.aclose()
