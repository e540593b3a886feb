"""How large a prompt may be, and how large it probably is."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from proxy.completion_request import CompletionRequest, read_request

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}


def read(messages: list[Any], **fields: Any) -> CompletionRequest:
    return read_request({"model": "m", "messages": messages, **fields}, model="m")


def bound(ask: CompletionRequest, *, media: int | None = None, context: int = 10**9) -> int:
    return ask.prompt.bound(len(orjson.dumps(ask.payload)), media_part_tokens=media, context_tokens=context)


@given(st.lists(TEXT, min_size=1, max_size=5), st.booleans())
def test_the_bound_is_above_every_byte_of_text_and_above_the_estimate(texts: list[str], tools: bool) -> None:
    fields: dict[str, Any] = {"tools": [{"type": "function"}]} if tools else {}
    ask = read([{"role": "user", "content": text} for text in texts], **fields)
    assert bound(ask) >= sum(len(text.encode()) for text in texts)
    assert bound(ask) >= ask.prompt.estimate > 0


def test_parts_of_text_count_as_text() -> None:
    whole = read([{"role": "user", "content": "سلام دنیا"}])
    parts = read(
        [{"role": "user", "content": [{"type": "text", "text": "سلام "}, {"type": "text", "text": "دنیا"}]}]
    )
    assert whole.prompt.text_bytes == parts.prompt.text_bytes == len("سلام دنیا".encode())


def test_an_image_is_bounded_by_the_models_allowance_not_by_its_bytes() -> None:
    ask = read([{"role": "user", "content": [{"type": "text", "text": "what is it?"}, IMAGE, IMAGE]}])
    assert 3_000 <= bound(ask, media=1_500) < 3_500
    assert ask.prompt.estimate < 1_000


def test_without_an_allowance_an_image_may_fill_the_context() -> None:
    ask = read(
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]
    )
    assert bound(ask, context=8_192) == 8_192


def test_no_prompt_is_longer_than_the_context() -> None:
    assert bound(read([{"role": "user", "content": "x" * 100_000}]), context=4_096) == 4_096


def test_what_hides_in_other_fields_is_bounded_too() -> None:
    plain = read([{"role": "user", "content": "hi"}])
    schema = read([{"role": "user", "content": "hi"}], response_format={"schema": "s" * 5_000})
    assert bound(schema) >= bound(plain) + 5_000


def test_a_part_of_an_unknown_kind_may_be_as_large_as_any() -> None:
    ask = read([{"role": "user", "content": [{"type": "video", "video": "https://x/y.mp4"}]}])
    assert bound(ask, context=8_192) == 8_192
    assert bound(ask, media=1_500) >= 1_500


def test_an_upstream_gets_its_own_name_and_nothing_that_it_does_not_take() -> None:
    ask = read([{"role": "user", "content": "hi"}], seed=7, store=True, temperature=1)
    body = orjson.loads(
        ask.upstream_body(upstream_model="up", output_limit=9, without=frozenset({"seed", "store"}))
    )
    assert body == {"model": "up", "messages": ask.payload["messages"], "temperature": 1, "max_tokens": 9}
    other = orjson.loads(ask.upstream_body(upstream_model="other", output_limit=None))
    assert other == {**ask.payload, "model": "other"}
