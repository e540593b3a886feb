"""The official SDK, unmodified, as the client: whole and streamed, with tools, in both ways."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import pytest

from tests.fake_upstream import STREAM as CHAT_STREAM
from tests.fake_upstream import FakeUpstream, answer_whole, chunk, respond, stream_events
from tests.proxy.api.conftest import HELLO, MODEL
from tests.proxy.api.messages.conftest import NATIVE_MODEL, Messenger
from tests.proxy.api.messages.fake_messages import ANSWER, STREAM


@pytest.fixture
def make_sdk(make_messenger: Callable[..., Messenger]) -> Iterator[Callable[..., Any]]:
    with ExitStack() as clients:

        def make(**limits: Any) -> Any:
            caller = make_messenger(**limits).caller
            client = anthropic.Anthropic(api_key=caller.key, base_url=caller.web.url, max_retries=0)
            return clients.enter_context(client)

        yield make


@pytest.fixture
def sdk(make_sdk: Callable[..., Any]) -> Any:
    return make_sdk()


@pytest.mark.parametrize(("model", "script"), [(NATIVE_MODEL, respond(200, ANSWER)), (MODEL, answer_whole())])
def test_it_reads_a_whole_answer(sdk: Any, upstream: FakeUpstream, model: str, script: Any) -> None:
    upstream.script = script
    message = sdk.messages.create(model=model, max_tokens=50, messages=HELLO)
    assert (message.content[0].text, message.stop_reason) == ("Hello!", "end_turn")
    assert message.usage.output_tokens == 9
    assert message.usage.model_extra["cost_toman"] > 0


def test_it_puts_a_native_stream_together(sdk: Any, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*STREAM)
    with sdk.messages.stream(model=NATIVE_MODEL, max_tokens=50, messages=HELLO) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[2].input == {"path": "a"}
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (10, 100)


def test_it_puts_a_translated_stream_together(sdk: Any, upstream: FakeUpstream) -> None:
    def tool(index: int, arguments: str, **named: str) -> bytes:
        function = {"arguments": arguments, **named}
        return chunk({"tool_calls": [{"index": index, "id": f"call_{index}", "function": function}]})

    upstream.script = stream_events(
        chunk({"role": "assistant", "reasoning_content": "hm"}),
        chunk({"content": "Reading."}),
        tool(0, '{"path":', name="read"),
        tool(1, "{}", name="now"),
        tool(0, '"a"}'),
        chunk({}, finish="tool_calls"),
        *CHAT_STREAM[-2:],
    )
    with sdk.messages.stream(model=MODEL, max_tokens=50, messages=HELLO) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.input for block in message.content[2:]] == [{"path": "a"}, {}]
    assert (message.stop_reason, message.usage.input_tokens) == ("tool_use", 12)


def test_errors_are_its_own(make_sdk: Callable[..., Any]) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        make_sdk().messages.create(model="unheard-of", max_tokens=5, messages=HELLO)
    body: Any = missing.value.body
    assert body["error"]["code"] == "model_not_found"
    assert missing.value.request_id == body["request_id"]
    with pytest.raises(anthropic.APIStatusError) as poor:
        make_sdk(credit_micro=1).messages.create(model=MODEL, max_tokens=5, messages=HELLO)
    body = poor.value.body
    assert (poor.value.status_code, body["error"]["type"]) == (402, "billing_error")


def test_an_error_in_a_stream_is_raised(sdk: Any, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*CHAT_STREAM[:3], cut=True)
    with (
        pytest.raises(anthropic.APIStatusError) as failed,
        sdk.messages.stream(model=MODEL, max_tokens=50, messages=HELLO) as stream,
    ):
        stream.get_final_message()
    body: Any = failed.value.body
    assert body["error"]["code"] == "upstream_error"


def test_it_counts_tokens(sdk: Any, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, {"input_tokens": 42})
    assert sdk.messages.count_tokens(model=NATIVE_MODEL, messages=HELLO).input_tokens == 42
