"""A streamed response of an upstream that speaks Responses itself: its events as they come. Pure.

The event with which it ends carries its usage, so it waits for payment; the first ones, which repeat the request, wait
for the answer itself, so that a failure before it still has a status.
"""

from typing import Any

import msgspec

from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.api.chat_completions.answers import decode, encode
from proxy.api.responses import shown
from proxy.api.responses.failures import failure
from proxy.api.responses.native_whole import check
from proxy.api.responses.said import Key, Place, text_of_part, texts_of
from proxy.api.responses.unfinished import Unfinished
from proxy.api.responses.usage import for_customers
from proxy.api.responses.writer import Writer
from proxy.errors import APIError
from proxy.metering import reported_usage
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.upstreams import sse
from proxy.upstreams.errors import error_of

BEFORE = frozenset({"response.created", "response.queued", "response.in_progress", "keepalive"})
BEFORE_MAX_BYTES = 64 * 1024 * 1024
LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
NOTHING = msgspec.Raw()
NAMED_LINES = 3  # of an event with a name and one line of data
# Where events say what an item's text is in the end, and which part of it kinds of events tell.
WHOLE_TEXTS = ("text", "refusal", "arguments", "input", "code", "diff", "command")
PLACES = (
    ("arguments", "arguments"),
    ("custom_tool_call_input", "input"),
    ("code_interpreter", "code"),
    ("patch", "operation"),
    ("shell", "action"),
)


class Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The kind of event that nearly all of a stream are."""

    type: str
    delta: str
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    sequence_number: int = 0
    # What tells of nothing.
    logprobs: msgspec.Raw = NOTHING
    obfuscation: msgspec.Raw = NOTHING


_read_delta = msgspec.json.Decoder(Delta).decode


class NativeStream(AnswerStream):
    """`writer` says how it failed where upstream has said nothing."""

    def __init__(self, writer: Writer, *, model: str, output_bound: int) -> None:
        super().__init__(include_usage=True, model=model, output_bound=output_bound)
        self._writer = writer
        self._asked_model = model
        self._before: list[bytes] = []
        self._before_bytes = 0
        self._has_begun = False
        self._unfinished = Unfinished()
        self._last: tuple[bytes, dict[str, Any]] | None = None

    @property
    def begun(self) -> bool:
        return self._has_begun

    @property
    def finished(self) -> bool:
        return self._last is not None

    def _is_whole(self) -> bool:
        return self.finished

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        usage = for_customers(self.report.said if self.report else None, bill)
        if self._last is not None and not self.is_cut:
            data, decoded = self._last
            return self._begin() + _named(
                decoded["type"], shown.event(data, decoded, model=self._asked_model, usage=usage)
            )
        error = None if refused is None else failure(refused)
        if self._unfinished.response is None:
            return self._writer.finish(usage, error)
        return self._begin() + self._unfinished.last_events(usage=usage, error=error)

    def failed(self, error: APIError) -> bytes:
        if self._unfinished.response is None:
            return self._writer.fail(failure(error))
        return self._begin() + self._unfinished.failed(failure(error))

    def _begin(self) -> bytes:
        """What has waited for the answer itself."""
        self._has_begun = True
        before, self._before = self._before, []
        return b"".join(before)

    def _read(self, event: bytes) -> bytes:
        if event.startswith(b"event:") and event.count(b"\n") == NAMED_LINES:
            data = event[event.find(b"\n") + 6 : -2] if b"\ndata:" in event else None
        else:
            data = sse.data(event)
        if not data:
            return super()._read(event)
        if data == b"[DONE]":  # of other protocols
            return b""
        try:
            delta = _read_delta(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._event(event, data)
        text = delta.delta
        if text:
            if not self._has_room((text,)):
                return b""
            key = self._unfinished.key(delta.item_id, delta.output_index)
            self._unfinished.hear((key, _part(delta.type, delta.content_index, delta.summary_index)), text)
        self._unfinished.sequence = delta.sequence_number
        return event if self._has_begun else self._begin() + event

    def _event(self, event: bytes, data: bytes) -> bytes:
        decoded = decode(data)
        kind = decoded.get("type") if isinstance(decoded, dict) else None
        if not isinstance(kind, str) or kind == "error":
            raise BadAnswer(
                "an error in the stream", error=error_of(decoded, named=sse.name(event) == b"error")
            )
        number = decoded.get("sequence_number")
        if kind in LAST:
            return self._end(data, decoded)
        if isinstance(decoded.get("response"), dict):
            event = self._response(data, decoded)
        elif changes := shown.without_price(decoded):
            event = _named(kind, encode({n: v for n, v in {**decoded, **changes}.items() if v is not ...}))
        if kind in BEFORE and not self._has_begun:
            self._wait(event)
            return b""
        item = decoded.get("item")
        item_id = item.get("id") if isinstance(item, dict) else decoded.get("item_id")
        key = self._unfinished.key(item_id, decoded.get("output_index"))
        if not self._says_all(kind, key, decoded):
            return b""
        if isinstance(item, dict):
            self._unfinished.see(kind, key, item)
        if isinstance(number, int):
            self._unfinished.sequence = number
        self.said_something += 1
        return self._begin() + event

    def _wait(self, event: bytes) -> None:
        self._before.append(event)
        self._before_bytes += len(event)
        if self._before_bytes > BEFORE_MAX_BYTES:
            raise BadAnswer("events without an answer")

    def _response(self, data: bytes, decoded: dict[str, Any]) -> bytes:
        written = shown.event(data, decoded, model=self._asked_model)
        self._unfinished.response = decode(written)["response"]
        return _named(decoded["type"], written)

    def _end(self, data: bytes, decoded: dict[str, Any]) -> bytes:
        answer = decoded.get("response")
        if isinstance(answer, dict) and (report := reported_usage.report_of(answer)) is not None:
            self._report = report
        check(answer)
        assert isinstance(answer, dict)
        output = answer.get("output")
        texts = [
            text
            for index, item in enumerate(output if isinstance(output, list) else ())
            if isinstance(item, dict)
            for text in texts_of(item, self._unfinished.key(item.get("id"), index))
        ]
        if not self._say(texts):
            return b""
        encode(decoded)  # what cannot be written must fail before it is paid for
        self._silent_since_report = self._report is not None
        self._last = (data, decoded)
        self.said_something += 1
        self.done = True
        return b""

    # --- what it says ---------------------------------------------------------------------------------------------

    def _says_all(self, kind: str, key: Key, decoded: dict[str, Any]) -> bool:
        """Counts what an event says beyond what has been said in its place. See `_has_room`."""
        if "item" in decoded:
            return self._say(list(texts_of(decoded["item"], key)))
        place = (key, _part(kind, decoded.get("content_index"), decoded.get("summary_index")))
        if isinstance(said := decoded.get("delta"), str):
            return self._says(place, said, more=True)
        whole = (said for name in WHOLE_TEXTS if isinstance(said := decoded.get(name), str))
        return self._says(place, text_of_part(decoded.get("part")) or next(whole, ""), more=False)

    def _says(self, place: Place, text: str, *, more: bool) -> bool:
        """`more`: than was said there before; else it is all of it."""
        known = self._unfinished.length(place)
        beyond = text if more else text[known:]
        if beyond and not self._has_room((beyond,)):
            return False
        if beyond:
            self._unfinished.hear(place, beyond)
        return True

    def _say(self, texts: list[tuple[Place, str]]) -> bool:
        beyond = [(place, more) for place, text in texts if (more := text[self._unfinished.length(place) :])]
        if beyond and not self._has_room([more for _place, more in beyond]):
            return False
        for place, more in beyond:
            self._unfinished.hear(place, more)
        return True


def _part(kind: str, content_index: Any, summary_index: Any) -> str:
    """Where in its item the text of an event stands, as in `said`."""
    if "summary" in kind:
        return f"summary{summary_index or 0}"
    return next((place for name, place in PLACES if name in kind), str(content_index or 0))


def _named(kind: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
