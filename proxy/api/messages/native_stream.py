"""A stream of an upstream that speaks Messages itself, on its way through. Pure.

Events are relayed as they came, but for the model's name, and for the usage of the last ones, which says what was
billed and what that cost. They wait for the payment.
"""

import re
from dataclasses import replace
from typing import Any

import msgspec

from proxy.api.chat_completions.answers import decode, edited, encode
from proxy.api.event_stream import CountedStream
from proxy.api.messages import errors, events, native, usage
from proxy.errors import APIError
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report, report_of
from proxy.upstreams import sse
from proxy.upstreams.errors import error_of

KIND = re.compile(r"[A-Za-z0-9_.-]{1,64}")
PROMPT = frozenset({"input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"})
OF_PROMPT = PROMPT | {"cache_creation"}
DELTA = b"event: content_block_delta\ndata: "


class PlainDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: str
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None


class PlainEvent(msgspec.Struct, gc=False, forbid_unknown_fields=True, tag="content_block_delta"):
    """What nearly every event is: text of one kind."""

    index: int
    delta: PlainDelta


_read_plain = msgspec.json.Decoder(PlainEvent).decode


class NativeStream(CountedStream):
    """See StreamedAnswer (proxy/metering/endpoint.py)."""

    def __init__(self, *, model: str, output_bound: int, request_id: str) -> None:
        super().__init__(output_bound=output_bound)
        self._model = model
        self._request_id = request_id
        self._said: dict[str, Any] = {}  # usage so far: each figure is the sum until then
        self._has_started = False
        self._open: list[int] = []
        self._last: dict[str, Any] = {}  # message_delta, until it is paid for
        self._stop = events.MESSAGE_STOP
        self.begun = False
        self.finished = False

    @property
    def report(self) -> Report | None:
        """The last usage that was reported. In the middle of an answer it counts the prompt, but not yet the output:
        then the output is what can be seen of it."""
        report = report_of({"usage": {"output_tokens": 0, **self._said}}) if self._said else None
        if report is None or self.finished or report.usage.completion_tokens >= self.size.estimate:
            return report
        return replace(report, usage=replace(report.usage, completion_tokens=self.size.estimate))

    @property
    def is_final(self) -> bool:
        return self.finished and self._silent_since_report and not self.is_cut

    def alive(self) -> bytes:
        return events.PING

    def _is_whole(self) -> bool:
        return self.finished

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        last = [events.block_stop(index) for index in self._open]
        delta = {"stop_reason": "max_tokens" if self.is_cut else "end_turn", "stop_sequence": None}
        if not self.is_cut and isinstance(said := self._last.get("delta"), dict):
            delta = said
        report = self.report
        last.append(
            events.event(
                {
                    **self._last,
                    "type": "message_delta",
                    "delta": delta,
                    "usage": usage.for_customers(bill, report.said if report else None),
                }
            )
        )
        return b"".join(last) + (self._stop if refused is None else self.failed(refused))

    def failed(self, error: APIError) -> bytes:
        return errors.event(error, request_id=self._request_id)

    def _read(self, event: bytes) -> bytes:
        if event.startswith(DELTA) and self._has_started:
            try:
                delta = _read_plain(event[len(DELTA) : -2]).delta
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # of another kind
            else:
                texts = (delta.text, delta.partial_json, delta.thinking)
                if not self._has_room([text for text in texts if text]):
                    return b""
                self.begun = True
                return event
        data, name = sse.data(event), sse.name(event)
        if data is None or data == b"[DONE]":
            return self._without_data(event, name)
        chunk = decode(data)
        kind = chunk.get("type") if isinstance(chunk, dict) else None
        if (
            not isinstance(kind, str)
            or not KIND.fullmatch(kind)
            or "error" in (kind, name.decode(errors="replace"))
        ):
            error = error_of(chunk, named=name == b"error")
            raise BadAnswer(
                "no event of a message" if error is None else "an error in the stream", error=error
            )
        return self._typed(kind, chunk, data.replace(b"\n", b" "))

    def _without_data(self, event: bytes, name: bytes) -> bytes:
        if name == b"error":
            raise BadAnswer("an error in the stream")
        if event.startswith(sse.WITHOUT_DATA):
            return sse.comments(event)
        if event.startswith(b"data:"):
            return b""  # [DONE]
        error = error_of(decode(event)) if event.startswith((b"{", b"[")) else None
        raise BadAnswer("no event stream", error=error)

    def _typed(self, kind: str, chunk: dict[str, Any], data: bytes) -> bytes:
        if not self._has_started and kind not in {"message_start", "ping"}:
            raise BadAnswer("a message without a start")
        changes: dict[str, Any] = {}
        match kind:
            case "ping":
                return events.PING
            case "message_start":
                self._start(chunk, changes)
            case "content_block_start" | "content_block_delta" | "content_block_stop":
                if not self._block(kind, chunk):
                    return b""
                changes = native.without_price(chunk)
            case "message_delta":
                return self._hold_last(chunk)
            case "message_stop":
                return self._end(chunk, data)
            case _:
                changes = native.without_price(chunk)
        return events.written(kind.encode(), edited(data, chunk, changes) if changes else data)

    def _start(self, chunk: dict[str, Any], changes: dict[str, Any]) -> None:
        message = chunk.get("message")
        if not isinstance(message, dict) or self._has_started:
            raise BadAnswer("no start of a message")
        self._has_started = True
        self._hear(message.get("usage"))
        changes |= native.without_price({name: value for name, value in chunk.items() if name != "message"})
        edits = native.without_price(message) | {"model": self._model}
        changes["message"] = {name: value for name, value in {**message, **edits}.items() if value is not ...}

    def _block(self, kind: str, chunk: dict[str, Any]) -> bool:
        """Whether it may be relayed."""
        index = chunk.get("index")
        index = index if isinstance(index, int) else 0
        said = chunk.get("content_block" if kind == "content_block_start" else "delta")
        if isinstance(said, dict) and not self._has_room(list(native.said_in(said))):
            return False
        self.begun = True
        if kind == "content_block_start" and index not in self._open:
            self._open.append(index)
        elif kind == "content_block_stop" and index in self._open:
            self._open.remove(index)
        return True

    def _hold_last(self, chunk: dict[str, Any]) -> bytes:
        delta = chunk.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        native.check_stop(delta.get("stop_reason"))
        self._hear(chunk.get("usage"))
        edits = native.without_price(chunk)
        kept = {name: value for name, value in {**chunk, **edits}.items() if value is not ...}
        encode(kept)  # what cannot be written must fail before it is paid for
        before = self._last.get("delta") or {}
        said = {name: value for name, value in delta.items() if value is not None or name not in before}
        self._last |= kept | {"delta": {**before, **said}}
        if delta.get("stop_reason"):
            self.begun = self.finished = True
            self.said_something += 1
        return b""

    def _end(self, chunk: dict[str, Any], data: bytes) -> bytes:
        if not self.begun:
            raise BadAnswer("an end without an answer")
        changes = native.without_price(chunk)
        self._stop = events.written(b"message_stop", edited(data, chunk, changes) if changes else data)
        self.done = self.finished = True
        return b""

    def _hear(self, said: Any) -> None:
        if not isinstance(said, dict):
            return
        # Servers that translate for themselves end with a prompt of nothing, which is none.
        has_prompt = any(said.get(name) for name in PROMPT)
        for name, value in said.items():
            before = self._said.get(name)
            if type(value) is int and type(before) is int:
                self._said[name] = max(value, before)  # sums: one that falls is one that was left out
            elif value is not None and (before is None or has_prompt or name not in OF_PROMPT):
                self._said[name] = value
        self._silent_since_report = True
