"""What streamed answers share whose upstreams send events: these are cut out, read one by one, or wait. Pure."""

from typing import Any

from proxy.catalogue.tokens import TextSize
from proxy.metering.endpoint import BadAnswer
from proxy.upstreams import sse


class EventStream:
    """As much of a StreamedAnswer (proxy/metering/endpoint.py) as does not depend on what the events are."""

    def __init__(self) -> None:
        self._splitter = sse.EventSplitter()
        self._allowed: int | None = None
        self._held_back: list[bytes] = []
        self.waits_for = 0
        self.said_something = 0
        self.done = False
        self.is_cut = False
        self.broke_off = False
        self.failure: BadAnswer | None = None

    def feed(self, chunk: bytes) -> bytes:
        try:
            events = self._splitter.feed(chunk)
        except sse.EventTooLarge:
            self.failure = BadAnswer("an event without end")
            return b""
        if self.waits_for:
            self._held_back += events
            return b""
        return self._relay(events)

    def alive(self) -> bytes:
        return sse.PING

    def allow(self, output: int | None) -> bytes:
        events, self._held_back = self._held_back, []
        self._allowed, self.waits_for = output, 0
        return self._relay(events)

    def end(self) -> bytes:
        relayed = self._relay(self._splitter.flush())
        if not self.failure and not self.done and not self._is_whole():
            self.failure = BadAnswer("the stream ended in the middle")
            self.broke_off = True
        self.done = not self.failure
        return relayed

    def stop(self) -> None:
        self.done = True

    def cut(self) -> None:
        self.done = self.is_cut = True
        self._held_back, self.waits_for = [], 0

    def _relay(self, events: list[bytes]) -> bytes:
        relayed = []
        for number, event in enumerate(events):
            if self.done:
                break
            try:
                relayed.append(self._read(event))
            except BadAnswer as error:
                self.failure = error.with_traceback(None)  # whose frames hold this answer
                break
            if self.waits_for:
                self._held_back = events[number:]
                break
        return b"".join(relayed)

    def _read(self, event: bytes) -> bytes:
        """What to relay of one event. Raises BadAnswer."""
        raise NotImplementedError

    def _is_whole(self) -> bool:
        """Whether upstream, which has closed now, had finished its answer."""
        raise NotImplementedError


class CountedStream(EventStream):
    """One whose text is counted, and cut before it goes beyond `output_bound` tokens, which are paid for; 0: any."""

    def __init__(self, *, output_bound: int) -> None:
        super().__init__()
        self._output_bound = output_bound
        self._silent_since_report = False
        self.size = TextSize()

    def _has_room(self, said: Any) -> bool:
        """Counts what an event says; where that goes beyond what is paid for, cuts the answer before it, or waits."""
        size = self.size
        before = size.figures()
        if not size.add(said):
            return True
        if self._output_bound and size.exceeds(self._output_bound):
            self.size = TextSize(*before)
            self.cut()
            return False
        if self._allowed is not None and size.at_most > self._allowed:
            self.size, self.waits_for = TextSize(*before), size.at_most
            return False
        self.said_something += 1
        self._silent_since_report = False
        return True
