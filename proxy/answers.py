"""What upstreams' answers say about themselves: usage, length, errors; whole or as a stream. Pure.

A stream is relayed event by event, verbatim. Each event is decoded once (a microsecond) to see usage, errors and
the end; only events that carry usage are written anew (without it where it was not asked for, with the cost where
it was), and chunks that an upstream's quirks mend.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from proxy import sse
from proxy.pricing import Usage
from proxy.quirks import ChunkMender
from proxy.upstream_errors import error_of

TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
CHUNK_HEAD = ("id", "object", "created", "model", "system_fingerprint")


class BadAnswer(Exception):
    """Upstream answered something that is no usable completion. Its words are not repeated: they may quote a prompt."""


def reported_usage(answer: dict[str, Any]) -> Usage | None:
    """The usage in an answer or a chunk, or None where there is none to believe.

    Some upstreams leave reasoning tokens out of `completion_tokens` but not out of the total: the total counts.
    """
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion, total = (
        usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    if completion is None and isinstance(total, int):
        completion = 0
    if type(prompt) is int and type(completion) is int and type(total) is int:
        completion = max(completion, total - prompt)
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if prompt is None or completion is None:
        return None
    try:
        return Usage(prompt, completion, cached or 0)
    except ValueError:
        return None


def text_bytes(message: Any) -> int:
    """UTF-8 bytes of what a message or a delta says: content, reasoning, and the arguments of calls."""
    if not isinstance(message, dict):
        return 0
    length = 0
    for name in TEXTS:
        if (text := message.get(name)) and isinstance(text, str):
            length += _utf8_bytes(text)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            length += _function_bytes(call.get("function"))
    return length + _function_bytes(message.get("function_call"))


def _function_bytes(function: Any) -> int:
    if not isinstance(function, dict):
        return 0
    texts = (function.get("name"), function.get("arguments"))
    return sum(_utf8_bytes(text) for text in texts if isinstance(text, str))


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """A decoded whole answer: what it says it used, and how long its text is."""

    body: bytes
    answer: dict[str, Any]
    usage: Usage | None
    text_bytes: int

    def with_cost(self, billed: Usage, cost_toman: float) -> bytes:
        """The answer as upstream gave it, with what it cost beside the usage it was billed by."""
        priced = {**self.answer, "usage": _priced(self.answer.get("usage"), billed, cost_toman)}
        try:
            return orjson.dumps(priced)
        except orjson.JSONEncodeError:  # nested deeper than it writes, though not deeper than it reads
            return self.body


def whole_answer(body: bytes) -> WholeAnswer:
    """Raises BadAnswer."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadAnswer("not JSON") from None
    if error_of(answer) is not None:
        raise BadAnswer("an error in a 200 answer")
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices:
        raise BadAnswer("no choices")
    length = sum(text_bytes(choice.get("message")) for choice in choices if isinstance(choice, dict))
    return WholeAnswer(body, answer, reported_usage(answer), length)


def _priced(reported: Any, billed: Usage, cost_toman: float) -> dict[str, Any]:
    """Upstream's usage object (or one of what was billed, where there is none to believe), with the cost."""
    usage = (
        reported
        if isinstance(reported, dict) and reported_usage({"usage": reported}) is not None
        else {
            "prompt_tokens": billed.prompt_tokens,
            "completion_tokens": billed.completion_tokens,
            "total_tokens": billed.total_tokens,
        }
    )
    return {**usage, "cost_toman": cost_toman}


class PlainDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: str | None = None
    role: str | None = None
    refusal: None = None


class PlainChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    delta: PlainDelta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None


class PlainChunk(msgspec.Struct, gc=False):
    """What nearly every event is: text of one choice, and nothing that bills, fails or ends.

    Decoding into this costs half of decoding into dictionaries. What does not fit is decoded whole.
    """

    choices: tuple[PlainChoice]
    usage: msgspec.UnsetType | None = msgspec.UNSET
    error: None = None


decode_plain = msgspec.json.Decoder(PlainChunk).decode


class AnswerStream:
    """One streamed answer on its way through.

    `feed` gives what the client is to get now; `tail` what comes after payment. `usage`, `text_bytes` and
    `deltas` say what to bill; `finished` that all of the text has come. Once `failure` says why this is no usable
    answer, nothing more is read.
    """

    def __init__(self, *, include_usage: bool, choices: int = 1, mends: bool = False) -> None:
        self._include_usage = include_usage
        self._choices = choices
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._mender = ChunkMender() if mends else None
        self._splitter = sse.EventSplitter()
        self._reported: Any = None
        self._last_data = b"{}"
        self.finished = False
        self.usage: Usage | None = None
        self.text_bytes = 0
        self.deltas = 0
        self.done = False
        self.failure = ""

    def feed(self, chunk: bytes) -> bytes:
        """Events to relay now, whole; empty when none was completed."""
        try:
            return self._relay(self._splitter.feed(chunk))
        except sse.EventTooLarge:
            self.failure = "an event without end"
            return b""

    def end(self) -> bytes:
        """Upstream has closed: a failure where it had not finished its answer."""
        relayed = self._relay(self._splitter.flush())
        # An upstream may have made fewer choices than it was asked for; those that it began, it has to end.
        if not self.failure and not self.done and not (self._ended and self._begun <= self._ended):
            self.failure = "the stream ended in the middle"
        self.done = not self.failure
        return relayed

    def _relay(self, events: list[bytes]) -> bytes:
        relayed = []
        for event in events:
            try:
                relayed.append(self._read(event))
            except BadAnswer as error:
                self.failure = str(error)
                break
        return b"".join(relayed)

    def tail(self, billed: Usage, cost_toman: float) -> bytes:
        """The last bytes: one chunk with the usage and its cost where usage was asked for, and `[DONE]`."""
        if not self._include_usage:
            return sse.DONE
        last = orjson.loads(self._last_data)
        chunk = {name: last[name] for name in CHUNK_HEAD if name in last}
        return (
            sse.event(
                orjson.dumps({**chunk, "choices": [], "usage": _priced(self._reported, billed, cost_toman)})
            )
            + sse.DONE
        )

    def _read(self, event: bytes) -> bytes:
        if self.done:
            return b""
        data = sse.data(event)
        if data is None:
            if not event.startswith(sse.WITHOUT_DATA):
                raise BadAnswer("no event stream")
            return event
        if data == b"[DONE]":
            self.done = True
            return b""
        if (
            self._choices == 1
            and self._mender is None
            and (length := self._plain_text_bytes(data)) is not None
        ):
            self._last_data = data
            if length:
                self.text_bytes += length
                self.deltas += 1
            return event
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise BadAnswer("an event that is no JSON") from None
        if error_of(chunk) is not None:
            raise BadAnswer("an error in the stream")
        if not isinstance(chunk, dict):
            raise BadAnswer("an event that is no object")
        self._count(chunk)
        if chunk.get("choices") or reported_usage(chunk) is not None:
            self._last_data = data
        if self._mender is not None and self._mender.mend(chunk):
            event = sse.event(orjson.dumps(chunk))
        return self._relayed(event, chunk) if "usage" in chunk else event

    def _plain_text_bytes(self, data: bytes) -> int | None:
        """The length of an event that is a PlainChunk and goes through as it is; None for any other."""
        try:
            chunk = decode_plain(data)
        except msgspec.DecodeError:
            return None
        if chunk.usage is None and not self._include_usage:
            return None
        text = chunk.choices[0].delta.content
        return _utf8_bytes(text) if text else 0

    def _count(self, chunk: dict[str, Any]) -> None:
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            if length := text_bytes(choice.get("delta")):
                self.text_bytes += length
                self.deltas += 1
            number = choice.get("index")
            number = number if isinstance(number, int) else 0
            self._begun.add(number)
            if choice.get("finish_reason"):
                self._ended.add(number)
                self.finished = len(self._ended) >= self._choices

    def _relayed(self, event: bytes, chunk: dict[str, Any]) -> bytes:
        usage = reported_usage(chunk)
        if usage is not None:  # on every chunk of some upstreams: the last one counts
            self.usage, self._reported = usage, chunk["usage"]
        if not chunk.get("choices"):
            return b"" if usage is not None or not self._include_usage else event
        if self._include_usage:
            return event if chunk["usage"] is None else sse.event(orjson.dumps({**chunk, "usage": None}))
        del chunk["usage"]
        return sse.event(orjson.dumps(chunk))


def error_event(body: dict[str, Any]) -> bytes:
    """How a failure after the first byte looks: SDKs raise on a truthy `error`."""
    return sse.event(orjson.dumps(body)) + sse.DONE
