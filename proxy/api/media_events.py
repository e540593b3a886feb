"""Streams of events as of an image that is drawn, of speech and of what is said in a sound: relayed up to the last one.

The last one holds the image, the whole text, or ends the sound, and has the usage: it is kept until that is paid for.
"""

from collections.abc import Callable, Mapping
from typing import Any

from proxy.api.chat_completions.answers import decode, edited
from proxy.api.event_stream import EventStream
from proxy.api.pieces import NO_USAGE, PiecesSize, renamed, report_in, usage_with_cost
from proxy.catalogue.prices.pricing import Units
from proxy.errors import APIError
from proxy.metering import purchase
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report
from proxy.upstreams import sse
from proxy.upstreams.errors import error_of

# Many upstreams answer whole all the same. The client can help itself; no failure of theirs is counted.
NO_EVENTS = {
    "message": 'This model does not answer in events. Leave out "stream" and "stream_format".',
    "code": "invalid_value",
    "status": 400,
}


class MediaEvents(EventStream):
    """A StreamedAnswer (proxy/metering/endpoint.py). `last`: the type of its last event.

    `made`: see report_in; `estimate`: the completion's tokens, once it has begun. `has_medium`: whether an event has
    image, sound or text in it; others pass as they come. `ends_with_it`: the last one must. `units_of`: the pieces that
    the last one shows. `unreported`: what its usage says beside the cost where upstream reports none.
    """

    def __init__(
        self,
        *,
        last: str,
        model: str,
        made: str,
        estimate: int,
        has_medium: Callable[[dict[str, Any]], bool],
        ends_with_it: bool = False,
        units_of: Callable[[dict[str, Any]], Units | None] = lambda _last: None,
        unreported: Mapping[str, Any] = NO_USAGE,
    ) -> None:
        super().__init__()
        self._unreported = unreported
        self._last, self._model, self._made, self._estimate = last, model, made, estimate
        self._has_medium, self._ends_with_it, self._units_of = has_medium, ends_with_it, units_of
        self._kept: tuple[bytes, dict[str, Any], dict[str, Any]] | None = None  # and what to change in it
        self.report: Report | None = None

    @property
    def size(self) -> PiecesSize:
        if not self.begun:
            return PiecesSize(0)
        return PiecesSize(self._estimate, self._units_of(self._kept[1]) if self._kept else None)

    @property
    def begun(self) -> bool:
        return bool(self.said_something)

    @property
    def finished(self) -> bool:
        return self._kept is not None

    @property
    def is_final(self) -> bool:
        return self.done

    def allow(self, output: int | None) -> bytes:
        return b""  # all of it is held for

    def cut(self) -> None:
        """Half a picture is no picture."""

    def _is_whole(self) -> bool:
        return self.finished

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        assert self._kept is not None
        written, last, changes = self._kept
        said = self.report.said if self.report else self._unreported
        return _edited(written, last, {**changes, "usage": usage_with_cost(said, bill)})

    def failed(self, error: APIError) -> bytes:
        return sse.error_event(error.body())

    def _read(self, event: bytes) -> bytes:
        data = sse.data(event)
        if data is None and not event.startswith(sse.WITHOUT_DATA):
            raise BadAnswer("no event stream", error=_error_in(event) or (None if self.begun else NO_EVENTS))
        if not data:
            return sse.comments(event)
        if data == b"[DONE]":
            raise BadAnswer("an end without an answer")
        said = decode(data)
        named = sse.name(event) == b"error" or (isinstance(said, dict) and said.get("type") == "error")
        if (error := error_of(said, named=named)) is not None:
            raise BadAnswer("an error in the stream", error=error)
        if not isinstance(said, dict):
            raise BadAnswer("an event that is no object")
        has_medium = self._has_medium(said)
        self.said_something += has_medium
        if (report := report_in(said, self._made)) is not None:
            self.report = report
        changes = purchase.changes(said) | renamed(said, self._model)
        if isinstance(used := said.get("usage"), dict) and (kept := purchase.without(used)) != used:
            changes["usage"] = kept
        if said.get("type") != self._last:
            return _edited(event, said, changes)
        if not (has_medium if self._ends_with_it else self.said_something):
            raise BadAnswer("an end without an answer")
        # What cannot be written must fail before it is paid for.
        _edited(event, said, {**changes, "usage": {}})
        self._kept, self.done = (event, said, changes), True
        return b""


def _error_in(text: bytes) -> dict[str, Any] | None:
    try:
        return error_of(decode(text)) if text.startswith((b"{", b"[")) else None
    except BadAnswer:
        return None


def _edited(event: bytes, said: dict[str, Any], changes: dict[str, Any]) -> bytes:
    """The event with some members of its object changed, its name and id kept. Raises BadAnswer."""
    if not changes:
        return event
    lines = [line for line in event.split(b"\n") if line and not line.startswith(b"data:")]
    data = (sse.data(event) or b"").replace(b"\n", b" ")
    return b"\n".join([*lines, b"data: " + edited(data, said, changes)]) + b"\n\n"
