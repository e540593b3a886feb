import hashlib
import hmac
from typing import Any

import msgspec
import pytest

from proxy.api.messages.request import MessagesRequest, NoChat, read_request
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from tests.proxy.factories import served_model, served_route

NATIVE = served_route(1, protocols=frozenset({"messages"}))
CHAT = served_route(2)
LONG = "word " * 5_000
MARK = {"cache_control": {"type": "ephemeral"}}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def read(
    *messages: Any, routes: Any = (NATIVE,), headers: dict[str, str] | None = None, **fields: Any
) -> MessagesRequest:
    body = {"model": "m", "max_tokens": 5, "messages": list(messages), **fields}
    return read_request(
        read_payload(msgspec.json.encode(body)),
        model=served_model(routes=routes, max_output_tokens=100),
        headers=headers or {},
        request_id="r",
    )


def hashes(request: MessagesRequest) -> list[bytes]:
    assert request.conversation is not None
    return request.conversation.hashes(hmac.new(b"k", digestmod=hashlib.sha256), last=32)


def test_the_next_turn_begins_as_this_one_although_agents_mark_another_message() -> None:
    first = read(
        {"role": "user", "content": [text(LONG), text("Hi")]},
        {"role": "system", "content": [text("Now.", **MARK)]},
        system=[text("Be brief.", **MARK)],
    )
    second = read(
        {"role": "user", "content": [text(LONG), text("Hi")]},
        {"role": "system", "content": "Now."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": [text("a", **MARK)], **MARK}],
        },
        system=[text("Be brief.", **MARK)],
    )
    assert hashes(first)[-1] == hashes(second)[1]
    assert hashes(second)[-1] != hashes(second)[-2]
    assert second.conversation is not None
    assert (
        0 < second.conversation.bound_after(2, served_model()) < 5_000 < second.prompt_bound(served_model())
    )


def test_another_system_text_is_another_conversation() -> None:
    message = {"role": "user", "content": LONG}
    assert hashes(read(message, system="a"))[-1] != hashes(read(message, system="b"))[-1]
    assert hashes(read(message))[-1] == hashes(read(message, stream=True, max_tokens=9))[-1]


def test_images_in_the_request_are_no_text() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}
    for block in (
        {"type": "image", "source": source},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source}]},
    ):
        request = read({"role": "user", "content": [block]})
        assert (request.prompt.media_parts, list(request.inputs)) == (1, ["image"])
        assert request.prompt.text_bytes < 500


@pytest.mark.parametrize(("asked", "sent"), [(5, 5), (128_000, 100), (5.0, 5)])
def test_the_cap_is_no_higher_than_the_model_can_make(asked: float, sent: int) -> None:
    assert read({"role": "user", "content": "Hi"}, max_tokens=asked).output_limit == sent


def test_the_cap_leaves_room_for_the_prompt() -> None:
    model = served_model(routes=(NATIVE,), context_tokens=10_000, max_output_tokens=9_000)
    body = {"model": "m", "max_tokens": 9_000, "messages": [{"role": "user", "content": LONG}]}
    request = read_request(read_payload(msgspec.json.encode(body)), model=model, headers={}, request_id="r")
    assert request.output_limit is not None
    assert 256 <= request.output_limit < 2_000


def test_what_cannot_be_a_chat_goes_to_the_routes_that_need_none() -> None:
    kept = {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}
    message = {"role": "user", "content": [kept]}
    both = served_model(routes=(CHAT, NATIVE))
    assert read(message, routes=both.routes).served_by(both).routes == (NATIVE,)
    plain = read({"role": "user", "content": "Hi"}, routes=both.routes)
    assert plain.served_by(both) is both
    assert (plain.protocol_for(CHAT).name, plain.protocol_for(NATIVE).name) == ("chat", "messages")
    alone = served_model(routes=(CHAT,))
    with pytest.raises(APIError) as refused:
        read(message, routes=alone.routes).served_by(alone)
    assert refused.value.param == "messages[0].content[0]"


def test_a_session_stays_with_its_upstream() -> None:
    both = (CHAT, NATIVE)
    first = {"role": "user", "content": [text("Hi", **MARK)]}
    later = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}, first]
    assert read(first, routes=both).affinity == read(*later, routes=both).affinity != b""
    headers = {"x-claude-code-session-id": "s"}
    assert read(first, routes=both, headers=headers).affinity == b"s"
    assert read(first).affinity == b""


def test_headers_and_betas_go_to_upstreams_of_the_protocol_alone() -> None:
    headers = {"anthropic-beta": "a-1", "anthropic-version": "2026-10-21", "x-session-id": "s"}
    request = read({"role": "user", "content": "Hi"}, routes=(CHAT, NATIVE), headers=headers, top_k=5)
    assert request.upstream_headers(NATIVE) == {
        "anthropic-beta": "a-1",
        "anthropic-version": "2026-10-21",
    }
    assert request.upstream_headers(CHAT) == {}
    assert (request.left_out(NATIVE), request.left_out(CHAT)) == ([], ["top_k", "anthropic-beta"])


def test_fields_that_an_admin_strips_are_named() -> None:
    stripped = served_route(
        3,
        protocols=frozenset({"messages"}),
        quirks=NATIVE.quirks.__class__(strip_fields=frozenset({"top_k"})),
    )
    request = read({"role": "user", "content": "Hi"}, routes=(stripped,), top_k=5)
    assert b"top_k" not in request.body_for(stripped, output_limit=5)
    assert request.left_out(stripped) == ["top_k"]


BIG = 10**30


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "tool_use", "id": "t", "name": "n", "input": {"a": BIG}}],
        [{"type": "web_search_tool_result", "content": {"type": {"a": 1}}}],
        [{"type": "tool_result", "tool_use_id": "t", "content": {"type": [], "content": [5, None, "x"]}}],
        [{"type": "document", "source": {"type": "content", "content": 5}}],
        [{"type": "unheard_of", "content": [{}]}],
    ],
)
def test_what_nobody_would_write_is_read_or_refused(content: list[Any]) -> None:
    for role in ("user", "assistant", "system"):
        for tools in ([], [{"name": "n", "type": {}}], [{"name": "n", "input_schema": {"maximum": BIG}}]):
            request = read({"role": role, "content": content}, routes=(CHAT,), tools=tools)
            if isinstance(request.as_chat, NoChat):
                assert request.as_chat.error().status == 400
            else:
                assert msgspec.json.decode(request.body_for(CHAT, output_limit=5))["max_tokens"] == 5


@pytest.mark.parametrize("choice", [{"type": {}}, {"type": []}, [], {"type": "tool", "name": 5}])
def test_a_choice_that_is_none_is_refused(choice: Any) -> None:
    request = read(
        {"role": "user", "content": "Hi"}, routes=(CHAT,), tools=[{"name": "n"}], tool_choice=choice
    )
    with pytest.raises(APIError):
        request.served_by(served_model(routes=(CHAT,)))
