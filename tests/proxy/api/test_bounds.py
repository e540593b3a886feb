"""The cap that is held is the cap that is sent, and what an upstream makes beyond a declaration is lost once."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from proxy.catalogue.models import LanguageModel, Upstream
from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, answer_whole
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import (
    HELLO,
    INPUT_PRICE,
    MAX_OUTPUT,
    OUTPUT_PRICE,
    Caller,
    add_model,
    take_off_sale,
)

PLAIN, NEW_NAME, TEXT_ONLY, SMALL, OVERRUN, DENSE = (
    "plain",
    "newer names",
    "text only",
    "small",
    "overruns",
    "dense",
)
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}}


@pytest.fixture(scope="module")
def web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, upstream: FakeUpstream
) -> Iterator[WebProcess]:
    with django_db_blocker.unblock():
        for model_id in (PLAIN, NEW_NAME, OVERRUN, DENSE):
            add_model(model_id, upstream.url)
        nothing: dict[str, Any] = {
            "takes_images": False,
            "takes_audio": False,
            "takes_files": False,
            "takes_tools": False,
        }
        add_model(TEXT_ONLY, upstream.url, **nothing)
        add_model(SMALL, upstream.url)
        LanguageModel.objects.filter(model_id=SMALL).update(context_tokens=1_000)
        Upstream.objects.filter(name=f"upstream of {NEW_NAME}").update(limit_field="max_completion_tokens")
    with django_db_blocker.unblock(), web_process(env={"METRICS_TOKEN": "scraper"}) as process:
        yield process
        take_off_sale(PLAIN, NEW_NAME, OVERRUN, DENSE, TEXT_ONLY, SMALL)


def says(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def test_without_a_cap_of_the_clients_the_models_longest_answer_is_sent(
    caller: Caller, upstream: FakeUpstream
) -> None:
    assert caller.ask(model=PLAIN).status_code == 200
    assert upstream.requests[0]["max_tokens"] == MAX_OUTPUT


def test_each_upstream_is_sent_the_cap_by_the_name_that_it_obeys(
    caller: Caller, upstream: FakeUpstream
) -> None:
    caller.ask(model=PLAIN, max_completion_tokens=5)
    caller.ask(model=NEW_NAME, max_tokens=6)
    caller.ask(model=NEW_NAME)
    limits = [
        {name: request[name] for name in request if name.startswith("max_")} for request in upstream.requests
    ]
    assert limits == [
        {"max_tokens": 5},
        {"max_completion_tokens": 6},
        {"max_completion_tokens": MAX_OUTPUT},
    ]


def test_a_cap_beyond_the_context_is_lowered_to_it(caller: Caller, upstream: FakeUpstream) -> None:
    assert caller.ask(model=SMALL, max_tokens=50_000).status_code == 200
    assert upstream.requests[0]["max_tokens"] == 1_000


def test_a_cap_of_ours_leaves_room_for_the_prompt(caller: Caller, upstream: FakeUpstream) -> None:
    caller.ask(model=SMALL, messages=[{"role": "user", "content": "word " * 300}])
    assert 256 <= upstream.requests[0]["max_tokens"] < 500


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 5, "n_predict": 150, "ignore_eos": True},
        {"n": 1, "n_cmpl": 3},
        {"max_tokens": 5, "max_new_tokens": 40_000},
        {"max_tokens": 5, "best_of": 20},
        {"models": ["other/model"], "route": "fallback"},
        {"provider": {"order": ["x"]}},
        {"plugins": [{"id": "web"}]},
        {"service_tier": "priority"},
        {"extra_body": {"n_predict": 150}},
        {"tools": [{"type": "web_search"}]},
    ],
    ids=str,
)
def test_nothing_that_nobody_has_bounded_reaches_an_upstream(
    caller: Caller, upstream: FakeUpstream, fields: dict[str, Any]
) -> None:
    assert caller.ask(model=PLAIN, temperature=1, **fields).status_code == 200
    sent = upstream.requests[0]
    assert set(sent) <= {"model", "messages", "temperature", "max_tokens", "n", "ignore_eos", "tools"}
    assert sent.get("tools", []) == []
    assert (sent["model"], sent["max_tokens"]) == ("up-model", fields.get("max_tokens", MAX_OUTPUT))


@pytest.mark.parametrize(
    ("fields", "param", "word"),
    [
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0]", "images"),
        ({"messages": [*HELLO, {"role": "user", "content": [SOUND]}]}, "messages[1].content[0]", "sound"),
        ({"messages": [{"role": "user", "content": [FILE]}]}, "messages[0].content[0]", "files"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "tools"),
        ({"functions": [{"name": "f"}]}, "functions", "tools"),
    ],
)
def test_what_a_model_does_not_take_is_refused_before_any_hold(
    caller: Caller, upstream: FakeUpstream, fields: dict[str, Any], param: str, word: str
) -> None:
    refused = caller.ask(**{"model": TEXT_ONLY, **fields})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "input_not_supported", param)
    assert error["message"] == f"The model {TEXT_ONLY} does not take {word}."
    assert upstream.requests == []
    assert caller.ask(model=TEXT_ONLY, tools=[], functions=None).status_code == 200


def test_a_prompt_that_cannot_fit_is_refused_and_one_that_might_is_not(
    caller: Caller, upstream: FakeUpstream
) -> None:
    refused = caller.ask(model=SMALL, messages=[{"role": "user", "content": "hello there " * 17_000}])
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        400,
        "context_length_exceeded",
        "messages",
    )
    assert upstream.requests == []
    persian = "این متن شاید در مدل جا شود " * 100
    escaped = "\\u0633" * 5_000  # ten thousand bytes, written as thirty
    assert caller.ask(model=SMALL, messages=[{"role": "user", "content": persian}]).status_code == 200
    body = f'{{"model":"{SMALL}","messages":[{{"role":"user","content":"{escaped}"}}]}}'
    with caller.http as http:
        assert http.post("/chat/completions", content=body).status_code == 200


def test_an_answer_beyond_the_cap_is_lost_once(
    caller: Caller, upstream: FakeUpstream, web: WebProcess
) -> None:
    upstream.script = answer_whole("x" * 30_000, usage=says(12, 9_000))
    with web_process() as other:
        first = caller.ask(model=OVERRUN, max_tokens=10)
        assert first.status_code == 200
        assert caller.usage().uncovered_micro > 0
        eventually(lambda: longest(OVERRUN) == 9_000)
        headers = {"Authorization": f"Bearer {caller.key}"}

        def uncovered(url: str, **fields: Any) -> int:
            body = {"model": OVERRUN, "messages": HELLO, **fields}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30)
            assert answer.status_code == 200
            return UsageRecord.objects.get(pk=answer.headers["x-request-id"]).uncovered_micro

        assert uncovered(web.url, max_tokens=10) == 0
        assert uncovered(web.url) == 0
        eventually(lambda: uncovered(other.url, max_tokens=10) == 0)
    assert upstream.requests[1]["max_tokens"] == 10


def longest(model_id: str) -> int | None:
    return LanguageModel.objects.get(model_id=model_id).learned_output_tokens


def test_an_overrunning_model_is_no_longer_served_for_less_than_it_makes(
    make_caller: Any, caller: Caller, upstream: FakeUpstream
) -> None:
    LanguageModel.objects.filter(model_id=OVERRUN).update(learned_output_tokens=9_000)
    poor = make_caller(credit_micro=1_000 * OUTPUT_PRICE)
    eventually(lambda: poor.ask(model=OVERRUN).status_code == 402)
    assert poor.balance()[1] == 0


def test_a_context_that_is_longer_than_declared_is_lost_once(caller: Caller, upstream: FakeUpstream) -> None:
    long = [{"role": "user", "content": "word " * 3_000}]
    upstream.script = answer_whole("x", usage=says(3_000, 1))
    assert caller.ask(model=SMALL, messages=long).status_code == 200
    assert caller.usage().uncovered_micro > 0
    longer = [{"role": "user", "content": "word " * 9_000}]
    upstream.script = answer_whole("x", usage=says(9_000, 1))
    before = caller.balance()[0]
    answer = caller.ask(model=SMALL, messages=longer)
    assert answer.status_code == 200
    assert before - caller.balance()[0] == 9_000 * INPUT_PRICE + OUTPUT_PRICE
    eventually(lambda: LanguageModel.objects.get(model_id=SMALL).learned_context_tokens == 9_000)


def test_a_prompt_above_its_bound_moves_the_bound_up(caller: Caller, upstream: FakeUpstream) -> None:
    dense = [{"role": "user", "content": "7" * 10_000}]
    upstream.script = answer_whole("x", usage=says(30_000, 1))
    assert caller.ask(model=DENSE, messages=dense).status_code == 200
    assert caller.usage().uncovered_micro > 0
    before = caller.balance()[0]
    assert caller.ask(model=DENSE, messages=dense).status_code == 200
    assert before - caller.balance()[0] == 30_000 * INPUT_PRICE + OUTPUT_PRICE
    eventually(lambda: LanguageModel.objects.get(model_id=DENSE).tokens_per_100_bytes > 250)
    metrics = httpx.get(f"{caller.web.url}/metrics", headers={"Authorization": "Bearer scraper"}).text
    assert f'declarations_exceeded_total{{figure="tokens_per_100_bytes",model="{DENSE}"}} 1.0' in metrics
