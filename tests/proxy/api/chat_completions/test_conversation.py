"""What is known of a prompt's beginning: nothing that may change it is left out, and what follows is never bounded
below the truth."""

import hmac
import json
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.chat_completions.conversation import Conversation
from proxy.api.chat_completions.request import read_request
from proxy.catalogue.tokens import TokenRates
from proxy.http.parsing import read_payload
from proxy.metering.known_prefixes import WORTH_BYTES
from tests.proxy.factories import served_model

LONG = "x" * WORTH_BYTES
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": LONG},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "And?"},
]
BODY: dict[str, Any] = {
    "model": "m",
    "messages": MESSAGES,
    "tools": [{"type": "function", "function": {"name": "f"}}],
}


def conversation(body: dict[str, Any], *, spaced: bool = False) -> Conversation:
    written = json.dumps(body, separators=(", ", ": ") if spaced else (",", ":"), ensure_ascii=False)
    found = read_request(read_payload(written.encode()), model="m").conversation
    assert found is not None
    return found


def hashes(body: dict[str, Any], *, last: int = 100, spaced: bool = False) -> list[bytes]:
    return conversation(body, spaced=spaced).hashes(hmac.new(b"secret", digestmod="sha256"), last=last)


def test_a_short_prompt_is_not_worth_asking() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * (WORTH_BYTES - 100)}]})
    assert read_request(read_payload(body.encode()), model="m").conversation is None


@pytest.mark.parametrize(
    ("part", "is_known"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, True),
        ({"type": "image_url", "image_url": "data:image/png;base64,AAAA"}, True),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, True),
        ({"type": "input_audio", "input_audio": {"data": "https://a.test/b.wav"}}, False),
        ({"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}, False),
        ({"type": "image_url", "image_url": {"url": "b.png"}}, False),
        ({"type": "input_audio", "input_audio": "AAAA"}, False),
        ({"type": "image_url", "image_url": {"url": "https://a.test/", "detail": "data:"}}, False),
        (
            {"type": "image_url", "image_url": {"url": "data:,", "x": 1}, "video_url": "https://a.test/"},
            False,
        ),
        ({"type": "text", "text": "a", "image_url": {"url": "https://a.test/b.png"}}, False),
        ({"type": "file", "file": {"file_id": "f"}}, False),
        ({"type": "unknown", "url": "https://a.test/"}, False),
    ],
    ids=str,
)
def test_a_medium_that_is_fetched_from_elsewhere_may_be_another_next_time(part: Any, is_known: bool) -> None:
    body = json.dumps({"model": "m", "messages": [*MESSAGES, {"role": "user", "content": [part]}]})
    assert (read_request(read_payload(body.encode()), model="m").conversation is not None) == is_known


def test_each_turn_begins_as_the_one_before_it() -> None:
    whole = hashes(BODY)
    assert len(set(whole)) == len(MESSAGES)
    for length in range(1, len(MESSAGES)):
        assert hashes({**BODY, "messages": MESSAGES[:length]}) == whole[:length]
    assert hashes(BODY, last=2) == whole[-2:]


def test_a_prompt_is_known_by_a_secret() -> None:
    [one] = conversation({**BODY, "messages": MESSAGES[:1]}).hashes(
        hmac.new(b"other", digestmod="sha256"), last=1
    )
    assert one != hashes(BODY)[0]


@pytest.mark.parametrize(
    "cap",
    [{"max_tokens": 7}, {"max_completion_tokens": 7}, {"stream": True}, {"stream_options": {}}],
    ids=str,
)
def test_what_no_template_writes_is_no_part_of_it(cap: dict[str, Any]) -> None:
    assert hashes({**BODY, **cap}) == hashes(BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"tools": []},
        {"tools": [{"type": "function", "function": {"name": "g"}}]},
        {"functions": [{"name": "f"}]},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"reasoning_effort": "high"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"n": 2},
        {"a field that does not exist yet": 1},
        {"messages": [{**MESSAGES[0], "content": LONG + "."}, *MESSAGES[1:]]},
        {"messages": [{**MESSAGES[0], "name": "s"}, *MESSAGES[1:]]},
        {"messages": [{**MESSAGES[0], "role": "user"}, *MESSAGES[1:]]},
        {"messages": [{"role": "system", "content": ""}, *MESSAGES]},
    ],
    ids=lambda change: str(change)[:60],
)
def test_whatever_may_change_the_prompt_makes_it_another(change: dict[str, Any]) -> None:
    assert not set(hashes({**BODY, **change})) & set(hashes(BODY))


def test_the_same_in_other_bytes_is_not_recognised() -> None:
    assert not set(hashes(BODY, spaced=True)) & set(hashes(BODY))


PIECES = st.lists(st.binary(max_size=4), min_size=1, max_size=4)


@given(
    one=PIECES, other=PIECES, fields=st.dictionaries(st.text(max_size=3), st.binary(max_size=4), max_size=2)
)
def test_no_two_conversations_look_alike(
    one: list[bytes], other: list[bytes], fields: dict[str, bytes]
) -> None:
    def whole(messages: list[bytes], fields: dict[str, bytes]) -> bytes:
        raw = {name: msgspec.Raw(value) for name, value in fields.items()}
        found = Conversation(raw, [msgspec.Raw(each) for each in messages], bytes)
        return found.hashes(hmac.new(b"secret", digestmod="sha256"), last=1)[0]

    assert (whole(one, {}) == whole(other, {})) == (one == other)
    assert (whole(one, fields) == whole(one, {})) == (not fields)


TEXTS = st.text(st.sampled_from('ab 9-"\\\n\u0633\u06cc\ufdfa\u0fb9\u2014\u4e2d\U0001f600'), max_size=60)
PARTS = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
        st.builds(lambda text: {"type": "image_url", "image_url": {"url": f"data:{text}"}}, TEXTS),
    ),
    min_size=1, max_size=3,
)  # fmt: skip
SAID = st.builds(
    lambda role, content, more: {"role": role, "content": content, **more},
    st.sampled_from(["user", "assistant", "system", "tool"]),
    TEXTS | PARTS,
    st.sampled_from(
        [{}, {"name": "n"}, {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}]
    ),
)


class Template:
    """A tokenizer and template that obey a model's rates, whose counts do nothing else that could be relied upon.

    Each message has any number of tokens up to what the rates allow for its compact JSON, normalised and with its
    media; it may shrink once others follow it. What the template adds of its own may grow as the prompt does.
    """

    def __init__(self, rates: TokenRates, media: int, draw: st.DataObject) -> None:
        self._rates, self._media, self._draw = rates, media, draw
        self._own, self._known = 0, dict[int, int]()

    def count(self, messages: list[dict[str, Any]], tools: int) -> int:
        self._own = self._draw.draw(st.integers(self._own, self._rates.template_tokens))
        for number, message in enumerate(messages):
            at_most = self._known.get(number, self._most(message))
            self._known[number] = self._draw.draw(st.just(at_most) | st.integers(0, at_most))
        return self._own + tools + sum(self._known[number] for number in range(len(messages)))

    def _most(self, message: dict[str, Any]) -> int:
        content = message["content"]
        media = [part for part in content if "image_url" in part] if isinstance(content, list) else []
        # A token stands for a byte at least, of the text as it comes or as a tokenizer normalises it.
        written = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        for part in media:
            written = written.replace(json.dumps(part, ensure_ascii=False, separators=(",", ":")), "", 1)
        grown = sum(max(len(char.encode()), *(len(f.encode()) for f in forms(char))) for char in written)
        return grown * self._rates.tokens_per_100_bytes // 100 + len(media) * self._media


def forms(char: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", char), unicodedata.normalize("NFKC", char)


@given(
    data=st.data(), before=st.lists(SAID, min_size=1, max_size=4), after=st.lists(SAID, max_size=4),
    tools=st.integers(0, 500), rate=st.sampled_from([30, 100, 250]), media=st.integers(0, 400),
)  # fmt: skip
def test_what_follows_a_known_prefix_is_never_bounded_below_the_truth(
    data: st.DataObject, before: list[Any], after: list[Any], tools: int, rate: int, media: int
) -> None:
    rates = TokenRates(template_tokens=64, tokens_per_100_bytes=rate)
    model = served_model(rates=rates, media_part_tokens=media, context_tokens=10**6)
    first: list[Any] = [{"role": "system", "content": LONG}, *before]
    template = Template(rates, media, data)
    counted = template.count(first, tools)
    grown = conversation({"model": "m", "messages": [*first, *after]})
    assert counted + grown.bound_after(len(first), model) >= template.count([*first, *after], tools)
