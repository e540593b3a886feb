"""The sandbox upstream speaks the protocol the way OpenAI does, so that what works against it works elsewhere."""

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.chat import ChatCompletion

from proxy.sandbox.request import MODELS
from proxy.sandbox.upstream import SandboxUpstream

MODEL = "gemini-3.1-flash-lite-preview"
URL = "http://sandbox.test/sandbox/upstream/v1"
HELLO: list[Any] = [{"role": "user", "content": "Hello, world!"}]
WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "unit": {"enum": ["C", "F"]},
                    "days": {"type": "integer"},
                },
            },
        },
    },
    {"type": "function", "function": {"name": "time"}},
]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=SandboxUpstream(piece_delay_seconds=0))
    headers = {"authorization": "Bearer sandbox"}
    async with httpx.AsyncClient(transport=transport, base_url=URL, headers=headers) as client:
        yield client


@pytest.fixture
def client(http: httpx.AsyncClient) -> AsyncOpenAI:
    # The SDK is typed for another release of its HTTP client; the one here speaks the same.
    return AsyncOpenAI(api_key="sandbox", base_url=URL, http_client=http, max_retries=0)  # type: ignore[arg-type]


async def whole(client: AsyncOpenAI, **asked: Any) -> ChatCompletion:
    answer = await client.chat.completions.create(**({"model": MODEL, "messages": HELLO} | asked))
    assert isinstance(answer, ChatCompletion)
    return answer


async def events(http: httpx.AsyncClient, **asked: Any) -> list[str]:
    body = {"model": MODEL, "messages": HELLO, "stream": True} | asked
    response = await http.post("/chat/completions", json=body)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    *frames, end = response.text.split("\n\n")
    assert end == ""
    assert all(frame.startswith("data: ") for frame in frames)
    return [frame.removeprefix("data: ") for frame in frames]


async def chunks(http: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    *data, done = await events(http, **asked)
    assert done == "[DONE]"
    return [json.loads(frame) for frame in data]


async def error(http: httpx.AsyncClient, status: int, **asked: Any) -> dict[str, Any]:
    response = await http.post("/chat/completions", json={"model": MODEL, "messages": HELLO} | asked)
    assert response.status_code == status
    body: dict[str, Any] = response.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return body


async def test_an_answer_repeats_what_was_said_and_counts_its_tokens(client: AsyncOpenAI) -> None:
    answer = await whole(client)
    message = answer.choices[0].message
    assert (message.role, answer.choices[0].finish_reason, answer.model) == ("assistant", "stop", MODEL)
    assert "Hello, world!" in (message.content or "")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 5  # Hello , world ! and one for the message
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


async def test_a_persian_message_is_answered_in_persian(client: AsyncOpenAI) -> None:
    answer = await whole(client, messages=[{"role": "user", "content": "حال شما چطور است؟"}])
    assert (answer.choices[0].message.content or "").startswith("سلام")
    assert "حال شما چطور است؟" in (answer.choices[0].message.content or "")


async def test_the_same_request_gets_the_same_answer(http: httpx.AsyncClient) -> None:
    first, second = [
        (await http.post("/chat/completions", json={"model": MODEL, "messages": HELLO})).json() for _ in "12"
    ]
    assert first | {"created": 0} == second | {"created": 0}


async def test_a_stream_joins_to_the_whole_answer(client: AsyncOpenAI, http: httpx.AsyncClient) -> None:
    answer = await whole(client)
    streamed = await chunks(http)
    assert streamed[0]["choices"][0]["delta"]["role"] == "assistant"
    joined = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in streamed)
    assert joined == answer.choices[0].message.content
    assert [chunk["choices"][0]["finish_reason"] for chunk in streamed] == [None] * (len(streamed) - 1) + [
        "stop"
    ]
    assert {chunk["object"] for chunk in streamed} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in streamed}) == 1


async def test_usage_comes_last_where_it_was_asked_for(client: AsyncOpenAI, http: httpx.AsyncClient) -> None:
    answer = await whole(client)
    *others, last = await chunks(http, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert answer.usage is not None
    assert last["usage"]["completion_tokens"] == answer.usage.completion_tokens
    assert all(chunk["usage"] is None for chunk in others)


async def test_usage_does_not_appear_where_it_was_not_asked_for(http: httpx.AsyncClient) -> None:
    streamed = await chunks(http)
    assert all("usage" not in chunk and chunk["choices"] for chunk in streamed)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_stops_at_the_limit(client: AsyncOpenAI, http: httpx.AsyncClient, name: str) -> None:
    answer = await whole(client, **{name: 3})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    streamed = await chunks(http, **{name: 3})
    assert sum(1 for chunk in streamed if chunk["choices"][0]["delta"].get("content")) == 3
    assert streamed[-1]["choices"][0]["finish_reason"] == "length"


async def test_several_choices_each_have_an_index_and_are_counted(
    client: AsyncOpenAI, http: httpx.AsyncClient
) -> None:
    one, three = await whole(client), await whole(client, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert one.usage is not None
    assert three.usage is not None
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens
    texts = {0: "", 1: "", 2: ""}
    for chunk in await chunks(http, n=3):
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content") or ""
    assert set(texts.values()) == {one.choices[0].message.content}


async def test_an_offered_function_is_called_with_arguments_that_fit(client: AsyncOpenAI) -> None:
    answer = await whole(client, tools=WEATHER)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    [call] = answer.choices[0].message.tool_calls or []
    assert call.function.name == "weather"  # type: ignore[union-attr]
    assert json.loads(call.function.arguments) == {"city": "Hello, world!", "unit": "C", "days": 1}  # type: ignore[union-attr]


async def test_streamed_calls_carry_their_index_and_join_to_the_same(http: httpx.AsyncClient) -> None:
    calls: dict[int, dict[str, Any]] = {}
    streamed = await chunks(http, tools=WEATHER, parallel_tool_calls=True)
    for chunk in streamed:
        for delta in chunk["choices"][0]["delta"].get("tool_calls", []):
            call = calls.setdefault(delta["index"], {"id": delta.get("id"), "name": "", "arguments": ""})
            call["name"] += delta["function"].get("name", "")
            call["arguments"] += delta["function"]["arguments"]
    assert [calls[i]["name"] for i in (0, 1)] == ["weather", "time"]
    assert json.loads(calls[0]["arguments"])["city"] == "Hello, world!"
    assert calls[0]["id"] != calls[1]["id"]
    assert streamed[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_the_named_function_is_called(client: AsyncOpenAI) -> None:
    answer = await whole(
        client, tools=WEATHER, tool_choice={"type": "function", "function": {"name": "time"}}
    )
    assert [call.function.name for call in answer.choices[0].message.tool_calls or []] == ["time"]  # type: ignore[union-attr]


async def test_calls_stop_at_the_limit_too(client: AsyncOpenAI) -> None:
    answer = await whole(client, tools=WEATHER, max_tokens=4)
    assert answer.usage is not None
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 4)


@pytest.mark.parametrize(
    "asked", [{"tool_choice": "none"}, {"messages": [*HELLO, {"role": "tool", "content": "21 °C"}]}]
)
async def test_text_comes_where_no_call_is_wanted_or_its_result_is_there(
    client: AsyncOpenAI, asked: dict[str, Any]
) -> None:
    answer = await whole(client, tools=WEATHER, **asked)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content


@pytest.mark.parametrize(
    ("response_format", "keys"),
    [
        ({"type": "json_object"}, {"echo"}),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"properties": {"a": {"type": "array"}}}},
            },
            {"a"},
        ),
    ],
)
async def test_json_is_answered_where_json_is_asked_for(
    client: AsyncOpenAI, response_format: dict[str, Any], keys: set[str]
) -> None:
    answer = await whole(client, response_format=response_format)
    assert set(json.loads(answer.choices[0].message.content or "")) == keys


async def test_content_may_be_parts_or_nothing(client: AsyncOpenAI) -> None:
    parts = [{"type": "text", "text": "Look:"}, {"type": "text", "text": "here"}]
    answer = await whole(
        client, messages=[{"role": "assistant", "content": None}, {"role": "user", "content": parts}]
    )
    assert "Look: here" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_only_reads_refuses_what_is_no_text(
    client: AsyncOpenAI, part: Any, stream: bool
) -> None:
    content = [{"type": "text", "text": "Look:"}, part]
    with pytest.raises(BadRequestError, match=f"{part['type']} is not supported") as caught:
        await client.chat.completions.create(
            model=MODEL, messages=[*HELLO, {"role": "user", "content": content}], stream=stream
        )
    assert caught.value.param == "messages[1].content[1].type"


async def said(client: AsyncOpenAI, **asked: Any) -> tuple[str, str, int]:
    """Text, finish reason and completion tokens, the same whole and streamed."""
    answer = await whole(client, **asked)
    [choice] = answer.choices
    text = ""
    finish, tokens = None, 0
    async for chunk in await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}, **asked
    ):
        for streamed in chunk.choices:
            text += streamed.delta.content or ""
            finish = streamed.finish_reason or finish
        if chunk.usage:
            tokens = chunk.usage.completion_tokens
    assert answer.usage is not None
    assert (choice.message.content, choice.finish_reason, answer.usage.completion_tokens) == (
        text,
        finish,
        tokens,
    )
    return text, str(finish), tokens


@pytest.mark.parametrize(
    ("asked", "text", "finish", "tokens"),
    [
        ({"stop": "sandbox"}, "Hello! This is the ", "stop", 6),
        ({"stop": ["language", "sandbox", "never"]}, "Hello! This is the ", "stop", 6),
        ({"stop": "Hello"}, "", "stop", 0),
        ({"stop": "box upstream"}, "Hello! This is the sand", "stop", 6),
        ({"stop": "sandbox", "max_tokens": 4}, "Hello! This is", "length", 4),
        ({"stop": "This", "max_tokens": 4}, "Hello! ", "stop", 3),
        ({"stop": ["!"], "max_completion_tokens": 4}, "Hello", "stop", 1),
    ],
)
async def test_an_answer_ends_before_the_first_of_its_stops(
    client: AsyncOpenAI, asked: dict[str, Any], text: str, finish: str, tokens: int
) -> None:
    assert await said(client, **asked) == (text, finish, tokens)


async def test_a_stop_that_does_not_occur_changes_nothing(client: AsyncOpenAI) -> None:
    assert await said(client, stop=["never", "ever"]) == await said(client)


@pytest.mark.parametrize("beside", [None, 0, 3, 20])
async def test_each_token_says_how_likely_it_was(client: AsyncOpenAI, beside: int | None) -> None:
    asked: dict[str, Any] = {"logprobs": True, "max_tokens": 5, "n": 2}
    if beside is not None:
        asked["top_logprobs"] = beside
    answer = await whole(client, **asked)
    streamed: dict[int, list[Any]] = {0: [], 1: []}
    async for chunk in await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, **asked
    ):
        for choice in chunk.choices:
            if choice.logprobs is not None:
                streamed[choice.index] += choice.logprobs.content or []
    for choice in answer.choices:
        assert choice.logprobs is not None
        tokens = choice.logprobs.content or []
        assert "".join(token.token for token in tokens) == choice.message.content
        assert [token.model_dump() for token in tokens] == [
            token.model_dump() for token in streamed[choice.index]
        ]
        for token in tokens:
            assert bytes(token.bytes or []).decode() == token.token
            assert len(token.top_logprobs) == (beside or 0)
            assert len({other.token for other in token.top_logprobs}) == (beside or 0)
            assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1
            assert all(other.logprob <= token.logprob for other in token.top_logprobs)


async def test_nothing_is_said_of_likelihood_where_it_was_not_asked(client: AsyncOpenAI) -> None:
    assert (await whole(client)).choices[0].logprobs is None
    assert (await whole(client, logprobs=False)).choices[0].logprobs is None


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages"),
        ({"model": ""}, "model"),
        ({"tools": []}, "tools"),
        ({"tools": [{"function": {}}]}, "tools"),
        ({"tools": WEATHER, "tool_choice": {"function": "time"}}, "tool_choice"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stop": 5}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 5}, "logprobs"),
    ],
)
async def test_what_openai_refuses_is_refused_and_named(
    http: httpx.AsyncClient, asked: dict[str, Any], param: str
) -> None:
    assert (await error(http, 400, **asked))["param"] == param


async def test_the_sdk_raises_what_it_raises_for_openai(client: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        await whole(client, temperature=3)
    assert (caught.value.param, caught.value.code) == ("temperature", "decimal_above_max_value")


async def test_an_unknown_model_is_not_found(http: httpx.AsyncClient) -> None:
    assert (await error(http, 404, model="gpt-nine"))["code"] == "model_not_found"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe\xfa"])
async def test_a_body_that_is_no_json_object_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    assert (await http.post("/chat/completions", content=body)).status_code == 400


async def test_half_of_a_surrogate_pair_comes_back_as_valid_utf_8(http: httpx.AsyncClient) -> None:
    body = b'{"model": "%s", "messages": [{"role": "user", "content": "\\ud800"}]}' % MODEL.encode()
    response = await http.post("/chat/completions", content=body)
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"].endswith("?")


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("POST", "/chat/completions", "Bearer other", 401),
        ("GET", "/models", "", 401),
        ("GET", "/chat/completions", "Bearer sandbox", 405),
        ("POST", "/rerank", "Bearer sandbox", 404),
    ],
)
async def test_a_wrong_key_method_or_path_has_its_status(
    http: httpx.AsyncClient, method: str, path: str, key: str, status: int
) -> None:
    response = await http.request(method, path, headers={"authorization": key})
    assert response.status_code == status
    assert response.json()["error"]["message"]


async def test_it_lists_the_models_that_it_serves(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == list(MODELS)


async def test_it_stops_when_the_client_leaves() -> None:
    sent: list[Any] = []
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True}).encode()
    received = iter([{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}])
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/sandbox/upstream/v1/chat/completions",
        "headers": [(b"authorization", b"Bearer sandbox")],
    }

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message)

    await SandboxUpstream(piece_delay_seconds=0.001)(scope, receive, send)
    assert len(sent) == 2  # the start and one chunk
    assert b"[DONE]" not in sent[-1]["body"]
