"""What is read of a request, how large its prompt may be, how large it probably is, and what an upstream gets."""

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.chat_completions.request import ChatRequest, read_request, required_model
from proxy.catalogue.quirks import QUIRKS, rules_for
from proxy.catalogue.request_fields import LEFT_OUT, client_tools, thinking_only, without_reasoning
from proxy.catalogue.tokens import DEFAULT_RATES, MEDIA_PART_TOKENS, TokenRates, expansion_bytes
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from tests.proxy.factories import served_route

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
TOKENIZERS = json.loads((Path(__file__).parent / "tokenizers.json").read_text())


def read(messages: Any, **fields: Any) -> ChatRequest:
    return read_request(read_payload(orjson.dumps({"model": "m", "messages": messages, **fields})), model="m")


def raw(text: str) -> ChatRequest:
    return read_request(read_payload(text.encode()), model="m")


def bound(
    asked: ChatRequest,
    *,
    media: int | None = None,
    context: int = 10**9,
    rates: TokenRates = DEFAULT_RATES,
) -> int:
    return asked.prompt.bound(rates=rates, media_part_tokens=media, context_tokens=context)


def sent(asked: ChatRequest, *, kind: str = "openai", **rules: Any) -> dict[str, Any]:
    route = served_route(1, upstream_model="up", quirks=rules_for(kind=kind, strip_fields="", **rules))
    body = asked.body_for(route, output_limit=9)
    decoded: dict[str, Any] = orjson.loads(body)
    return decoded


@given(st.lists(TEXT, min_size=1, max_size=5), st.booleans())
def test_the_bound_is_above_every_byte_of_text_and_above_the_estimate(texts: list[str], tools: bool) -> None:
    fields: dict[str, Any] = {"tools": [{"type": "function"}]} if tools else {}
    asked = read([{"role": "user", "content": text} for text in texts], **fields)
    assert bound(asked) >= sum(len(text.encode()) for text in texts)
    assert bound(asked) >= asked.prompt.estimate > 0
    assert asked.content_bytes == sum(len(text.encode()) for text in texts)


@pytest.mark.parametrize("row", TOKENIZERS["above_the_bound"], ids=lambda row: row["name"])
def test_the_bound_is_above_what_real_tokenizers_and_templates_make(row: dict[str, Any]) -> None:
    body = row["body"]
    if "repeat" in row:
        body["messages"][0]["content"] *= row["repeat"]
    if "enum" in row:
        schema = {"type": "object", "properties": {"x": {"type": "integer", "enum": row["enum"]}}}
        body["tools"] = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        schema["properties"]["x"]["enum"] = [  # type: ignore[index]
            number % row["enum"]["modulo"] for number in range(row["enum"]["values"])
        ]
    assert bound(read(**body)) >= row["tokens"]


def test_a_text_that_normalising_lengthens_is_bounded_by_what_it_becomes() -> None:
    assert expansion_bytes("\u0fb9".encode() * 300) == 900  # NFC makes two characters of each
    assert expansion_bytes("\ufdfa".encode()) == 30  # NFKC makes eighteen characters of one
    assert expansion_bytes("سلام، می‌روم".encode()) == expansion_bytes("Hello…".encode()) == 0


def test_parts_of_text_count_as_text() -> None:
    parts = [{"type": "text", "text": "سلام "}, {"type": "text", "text": "دنیا"}]
    asked = read([{"role": "user", "content": parts}])
    assert asked.content_bytes == len("سلام دنیا".encode())
    assert asked.prompt.media_parts == 0


def test_a_text_costs_the_same_however_its_json_is_written() -> None:
    plain = raw('{"model":"m","messages":[{"role":"user","content":"سلام"}]}')
    escaped = raw('{"model":"m","messages":[{"role":"user","content":"\\u0633\\u0644\\u0627\\u0645"}]}')
    indented = raw(
        '{\n  "model": "m",\n  "messages": [\n    {\n      "role": "user",\n      "content": "سلام"\n    }\n  ]\n}'
    )
    assert plain.prompt == escaped.prompt == indented.prompt


@pytest.mark.parametrize(
    "padding",
    ["\n" * 90_000, " " * 90_000, "\\u0041", "\t\r\n" * 9_000],
    ids=["lines", "spaces", "escape", "all"],
)
@pytest.mark.parametrize(
    "said", ["word " * 2_000, "\\u0041" + "word " * 2_000, "\\/" * 5_000], ids=["plain", "escape", "slashes"]
)
def test_however_a_media_part_is_padded_the_text_beside_it_counts(padding: str, said: str) -> None:
    text = f'{{"type":"text","text":"{said}"}}'
    image = f'{{"type":"image_url","x":{padding if padding.isspace() else ""}"{padding.strip()}","image_url":{{}}}}'
    content = f'[{{"role":"user","content":[{text},{image}]}}]'
    prompt = raw(f'{{"model":"m","messages":{content}}}').prompt
    assert 5_000 < prompt.text_bytes < 10_200
    assert prompt.estimate > 1_250 + MEDIA_PART_TOKENS
    assert prompt.bound(rates=DEFAULT_RATES, media_part_tokens=0, context_tokens=10**9) > 7_000


def test_an_image_is_bounded_by_the_models_allowance_not_by_its_bytes() -> None:
    asked = read([{"role": "user", "content": [{"type": "text", "text": "what is it?"}, IMAGE, IMAGE]}])
    assert 3_000 <= bound(asked, media=1_500) - DEFAULT_RATES.template_tokens < 3_500
    assert asked.prompt.estimate < 1_000
    assert asked.inputs == {"image": "messages[0].content[1]"}


def test_without_an_allowance_an_image_may_fill_the_context() -> None:
    asked = read(
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]
    )
    assert bound(asked, context=8_192) == 8_192


def test_no_prompt_is_longer_than_the_context_unless_one_was() -> None:
    asked = read([{"role": "user", "content": "x" * 100_000}])
    assert bound(asked, context=4_096) == 4_096
    untrusted = asked.prompt.bound(
        rates=DEFAULT_RATES, media_part_tokens=None, context_tokens=4_096, trust_context=False
    )
    assert untrusted > 100_000


@pytest.mark.parametrize(
    "hidden",
    [
        {"response_format": {"schema": "s" * 5_000}},
        {"functions": [{"name": "f", "description": "s" * 5_000}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": "s" * 5_000}}]},
        {"documents": [{"title": "s" * 5_000}]},
        {"messages": [{"role": "user", "content": "hi", "name": "s" * 5_000}]},
        {"messages": [{"role": "assistant", "content": "hi", "reasoning_content": "s" * 5_000}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "s" * 5_000}]}]},
        {"messages": [{"role": "user", "content": [{"type": "of tomorrow", "say": "s" * 5_000}]}]},
    ],
)
def test_whatever_may_reach_the_prompt_is_in_the_bound_and_in_the_estimate(hidden: dict[str, Any]) -> None:
    messages = hidden.pop("messages", [{"role": "user", "content": "hi"}])
    asked = read(messages, **hidden)
    assert bound(asked) >= 5_000
    assert asked.prompt.estimate >= 1_250


def test_a_part_of_an_unknown_kind_may_be_as_large_as_any() -> None:
    asked = read([{"role": "user", "content": [{"type": "hologram", "hologram": "https://x/y"}]}])
    assert bound(asked, context=8_192) == 8_192
    assert bound(asked, media=1_500) >= 1_500


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "reasoning_content": "hm"},
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": [], "tool_calls": [{"id": "c1", "type": "function"}]},
        {"role": "tool", "tool_call_id": "c1", "content": []},
        {"role": "tool", "tool_call_id": "c1", "content": None},
        {"role": "function", "name": "f", "content": None},
        {"role": "user", "content": ""},
        {"role": "developer", "content": [{"type": "text", "text": "x"}]},
        {"role": "user", "content": "x", "weight": 0.25, "cache_control": {"type": "ephemeral"}},
    ],
)
def test_histories_that_clients_send_are_taken(message: dict[str, Any]) -> None:
    asked = read([message])
    assert sent(asked)["messages"] == [message]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "system", "content": []},
        {"role": "user", "content": 5},
        {"role": "user", "content": {"type": "text"}},
        {"role": "user", "content": ["text"]},
        {"role": "user", "content": [{"text": "x"}]},
        {"role": "robot", "content": "x"},
        {"role": ["user"], "content": "x"},
        {"content": "x"},
        "text",
        None,
    ],
)
def test_what_is_no_message_is_refused_by_its_number(message: Any) -> None:
    with pytest.raises(APIError) as refused:
        read([{"role": "user", "content": "hi"}, message])
    assert (refused.value.code, refused.value.param) == ("invalid_messages", "messages[1]")


@pytest.mark.parametrize("messages", [None, [], {}, "x", 5])
def test_messages_have_to_be_a_list_with_something_in_it(messages: Any) -> None:
    with pytest.raises(APIError) as refused:
        required_model(read_payload(orjson.dumps({"model": "m", "messages": messages})))
    assert refused.value.code == "messages_required"


@pytest.mark.parametrize("model", [None, "", "  ", 5, ["m"], {}])
def test_a_model_is_a_name(model: Any) -> None:
    with pytest.raises(APIError) as refused:
        required_model(read_payload(orjson.dumps({"model": model, "messages": [1]})))
    assert refused.value.code == "model_required"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"5",
        b'{"a":1} x',
        b'{"a":"\xff"}',
        b'{"a":"\\ud83d"}',
        b'{"a":["\\ude00"]}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":nan}',
        b"{'a':1}",
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(APIError, match="Invalid JSON"):
        read_payload(body)


def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    assert read_payload(b'\xef\xbb\xbf{"a":1}').fields == {"a": msgspec.Raw(b"1")}


def test_what_is_not_read_reaches_the_upstream_as_it_was_written() -> None:
    numbers = '"seed":18446744073709551616,"x":0.123456789012345678901234567890,"y":1e400'
    message = '{"role":"user","content":"hi","at":1e400}'
    asked = raw(f'{{"model":"m",{numbers},"messages":[{message}]}}')
    body = asked.body_for(served_route(1, upstream_model="up"), output_limit=9).decode()
    assert numbers in body
    assert message in body


def test_the_cap_goes_out_by_the_name_that_the_upstream_obeys() -> None:
    asked = read([{"role": "user", "content": "hi"}], max_completion_tokens=5)
    assert asked.output_limit == 5
    base = {"model": "up", "messages": [{"role": "user", "content": "hi"}]}
    assert sent(asked) == {**base, "max_tokens": 9}
    assert sent(asked, limit_field="max_completion_tokens") == {**base, "max_completion_tokens": 9}
    assert sent(asked, limit_field="both") == {**base, "max_tokens": 9, "max_completion_tokens": 9}


def test_of_two_caps_the_lower_one_keeps_both() -> None:
    assert read([{"role": "user", "content": "hi"}], max_tokens=7, max_completion_tokens=5).output_limit == 5


@pytest.mark.parametrize(("written", "value"), [("2.0", 2), ("2", 2), ("null", None), ("1e2", 100)])
def test_a_whole_number_may_be_written_as_a_decimal(written: str, value: int | None) -> None:
    asked = raw(f'{{"model":"m","messages":[{{"role":"user","content":"x"}}],"max_tokens":{written}}}')
    assert asked.output_limit == value


@pytest.mark.parametrize("written", ["0", "-1", "2.5", "1e400", '"5"', "true", "[]", "99999999999999999999"])
def test_a_cap_that_is_no_number_of_tokens_is_refused(written: str) -> None:
    with pytest.raises(APIError) as refused:
        raw(f'{{"model":"m","messages":[{{"role":"user","content":"x"}}],"max_tokens":{written}}}')
    assert (refused.value.code, refused.value.param) == ("invalid_value", "max_tokens")


@pytest.mark.parametrize("kind", QUIRKS)
def test_no_upstream_gets_what_would_change_how_much_is_made_who_serves_or_what_it_costs(kind: str) -> None:
    asked = read([{"role": "user", "content": "hi"}], **dict.fromkeys(LEFT_OUT, 3), temperature=1)
    assert sent(asked, kind=kind) == {
        "model": "up",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 1,
        "max_tokens": 9,
    }


def test_a_name_written_with_escapes_is_the_same_name() -> None:
    asked = raw('{"model":"m","messages":[{"role":"user","content":"x"}],"n_\\u0070redict":150}')
    assert "n_predict" not in sent(asked)


@pytest.mark.parametrize(
    "name", ["Max_Tokens", "MODEL", "N", "\u017ftream", "Tools", "N_Predict", "maxoutputtokens"]
)
def test_a_name_in_other_letters_cannot_stand_for_one_that_is_read_or_left_out(name: str) -> None:
    asked = read([{"role": "user", "content": "hi"}], **{name: 50_000}, temperature=1)
    assert set(sent(asked)) == {"model", "messages", "temperature", "max_tokens"}


@pytest.mark.parametrize(
    "text",
    [
        {"type": "text", "text": "s" * 5_000, "uuid": "1", "image_url": {"url": "https://x/y.png"}},
        {"type": "input_text", "text": "s" * 5_000, "image_url": "https://x/y.png"},
    ],
)
def test_an_image_in_a_part_of_text_is_an_image_beside_the_text(text: dict[str, Any]) -> None:
    asked = read([{"role": "user", "content": [text]}])
    assert asked.inputs == {"image": "messages[0].content[0]"}
    assert bound(asked, media=10_000) > 15_000
    assert read([{"role": "user", "content": [{**text, "image_url": None}]}]).inputs == {}


def test_thoughts_in_the_history_go_to_upstreams_that_know_them() -> None:
    thought = {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}
    history = [
        {"role": "user", "content": "reasoning_content?"},
        thought,
        {"role": "user", "content": "Why?"},
    ]
    plain = [history[0], {"role": "assistant", "content": "Yes."}, history[2]]
    asked = read(history)
    assert sent(asked)["messages"] == sent(asked, kind="llamacpp")["messages"] == history
    assert sent(asked, kind="gemini")["messages"] == plain
    strict = served_route(1, quirks=rules_for(kind="openai", strip_fields="seed, reasoning_content"))
    assert json.loads(asked.body_for(strict, output_limit=1))["messages"] == plain
    unread = msgspec.Raw(b'[{"role":"user","content":"reasoning_content"}]')
    assert without_reasoning(unread) is unread
    assert without_reasoning(odd := msgspec.Raw(b'["reasoning_content"]')) is odd


def test_of_a_name_that_stands_twice_the_last_one_counts_everywhere() -> None:
    asked = raw('{"model":"a","model":"m","messages":[{"role":"user","content":"x"}],"n":9,"n":2}')
    assert asked.answers == 2
    assert sent(asked)["n"] == 2


def test_gemini_is_told_how_to_think_and_nothing_else_of_its_extra_body() -> None:
    extra = {"google": {"thinking_config": {"thinking_budget": 0}, "cached_content": "cachedContents/1"}}
    asked = read([{"role": "user", "content": "hi"}], extra_body=extra)
    assert sent(asked, kind="gemini")["extra_body"] == {"google": {"thinking_config": {"thinking_budget": 0}}}
    assert "extra_body" not in sent(asked)
    assert thinking_only(msgspec.Raw(b'{"google":5}')) is None


def test_tools_that_an_upstream_would_run_are_left_out() -> None:
    own = {"type": "function", "function": {"name": "f", "parameters": {"maximum": 1e300}}}
    asked = read([{"role": "user", "content": "hi"}], tools=[own, {"type": "web_search"}, {"type": "custom"}])
    assert sent(asked)["tools"] == [own, {"type": "custom"}]
    asked = read([{"role": "user", "content": "hi"}], tools=[{"type": "web_search"}], tool_choice="auto")
    assert set(sent(asked)) == {"model", "messages", "max_tokens"}
    hosted = [
        {"googleSearch": {}},
        {"type": None, "code_execution": {}},
        {"type": "mcp"},
        {"type": "web_search"},
        {"type": "function", "Type": "web_search", "function": {"name": "f"}},
        {"TYPE": "web_search", "function": {"name": "f"}},
    ]
    flat = {"name": "f", "parameters": {}}
    asked = read([{"role": "user", "content": "hi"}], tools=[*hosted, {"type": 5}, flat])
    assert sent(asked)["tools"] == [{"type": 5}, flat]  # malformed: upstream says so
    for tools in (b'[{"function":{}}]', b'{"type":"web_search"}', b"null", b"[5]"):
        assert client_tools(unread := msgspec.Raw(tools)) is unread


def test_streams_are_asked_for_their_usage_and_keep_their_other_options() -> None:
    asked = read([{"role": "user", "content": "hi"}], stream=True, stream_options={"x": 1})
    assert not asked.include_usage
    assert sent(asked)["stream_options"] == {"x": 1, "include_usage": True}
