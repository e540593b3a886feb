"""Streams of events with media in them, as of images that are drawn and of speech: relayed until their last events.

The last events hold what all before them only announce, and the usage: they are kept until that is paid for.
"""

from collections.abc import Callable, Collection
from typing import Any

from proxy.api.chat_completions.answers import decode, edited
from proxy.api.pieces import PiecesSize, report_in, usage_with_cost
from proxy.catalogue.prices.pricing import Units
from proxy.errors import APIError
from proxy.metering import purchase
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report
from proxy.upstreams import sse
from proxy.upstreams.errors import error_of


class MediaEvents:
    """A StreamedAnswer (proxy/metering/endpoint.py). `last`: the types of its last events, `count` of them.

    `made`: the part of `Usage` that its completion is; `estimate`: its tokens, once it has begun. `units_of`: the
    pieces that so many last events show.
    """

    def __init__(
        self,
        *,
        last: Collection[str],
        count: int,
        made: str,
        estimate: int,
        units_of: Callable[[list[dict[str, Any]]], Units | None] = lambda _last: None,
    ) -> None:
        self._last, self._count, self._made, self._estimate = last, count, made, estimate
        self._units_of = units_of
        self._splitter = sse.EventSplitter()
        self._kept: list[tuple[bytes, dict[str, Any]]] = []
        self._reports: list[Report] = []
        self.said_something = 0
        self.waits_for = 0
        self.done = self.is_cut = self.broke_off = False
        self.failure: BadAnswer | None = None

    @property
    def size(self) -> PiecesSize:
        if not self.begun:
            return PiecesSize(0)
        return PiecesSize(self._estimate, self._units_of([event for _written, event in self._kept]))

    @property
    def begun(self) -> bool:
        return bool(self.said_something)

    @property
    def finished(self) -> bool:
        return len(self._kept) >= self._count

    @property
    def report(self) -> Report | None:
        return self._reports[-1] if self._reports else None

    @property
    def is_final(self) -> bool:
        return self.done

    def alive(self) -> bytes:
        return sse.PING

    def allow(self, output: int | None) -> bytes:
        return b""  # all of it is held for

    def feed(self, chunk: bytes) -> bytes:
        try:
            return self._relay(self._splitter.feed(chunk))
        except sse.EventTooLarge:
            self.failure = BadAnswer("an event without end")
            return b""

    def end(self) -> bytes:
        relayed = self._relay(self._splitter.flush())
        if not self.failure and not self._kept:
            self.failure = BadAnswer("the stream ended in the middle")
            self.broke_off = True
        self.done = not self.failure
        return relayed

    def stop(self) -> None:
        self.done = True

    def cut(self) -> None:
        """Half a picture is no picture."""

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        *others, (written, last) = self._kept
        paid = {"usage": usage_with_cost(last.get("usage"), bill)}
        return b"".join(event for event, _ in others) + _edited(written, last, paid)

    def failed(self, error: APIError) -> bytes:
        return sse.error_event(error.body())

    def _relay(self, events: list[bytes]) -> bytes:
        relayed = []
        for event in events:
            if self.done:
                break
            try:
                relayed.append(self._read(event))
            except BadAnswer as error:
                self.failure = error.with_traceback(None)  # whose frames hold this answer
                break
        return b"".join(relayed)

    def _read(self, event: bytes) -> bytes:
        data = sse.data(event)
        if data is None and event.startswith((b"{", b"[")):
            raise BadAnswer("no event stream", error=error_of(decode(event)))
        if not data:
            return sse.comments(event)
        if data == b"[DONE]":
            if not self._kept:
                raise BadAnswer("an end without an answer")
            self.done = True
            return b""
        said = decode(data)
        named = sse.name(event) == b"error" or (isinstance(said, dict) and said.get("type") == "error")
        if (error := error_of(said, named=named)) is not None:
            raise BadAnswer("an error in the stream", error=error)
        if not isinstance(said, dict):
            raise BadAnswer("an event that is no object")
        self.said_something += 1
        if (report := report_in(said, self._made)) is not None:
            self._reports.append(report)
        event = _edited(event, said, purchase.changes(said))
        if said.get("type") not in self._last:
            return event
        _edited(event, said, {"usage": {}})  # what cannot be written must fail before it is paid for
        self._kept.append((event, said))
        self.done = self.finished
        return b""


def _edited(event: bytes, said: dict[str, Any], changes: dict[str, Any]) -> bytes:
    """The event with some members of its object changed, its name and id kept. Raises BadAnswer."""
    if not changes:
        return event
    lines = [line for line in event.split(b"\n") if line and not line.startswith(b"data:")]
    data = (sse.data(event) or b"").replace(b"\n", b" ")
    return b"\n".join([*lines, b"data: " + edited(data, said, changes)]) + b"\n\n"
