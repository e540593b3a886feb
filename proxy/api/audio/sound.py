"""Sound on its way through: bytes, as upstream sends them. Nothing can be said in them but the sound itself."""

import orjson

from proxy.api.pieces import PiecesSize
from proxy.errors import APIError
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.upstreams.errors import error_of

# What may be an error in place of sound, told with status 200: it is looked at whole, up to this length.
TEXT_BEGINS = (b"{", b"[", b"<")
TEXT_MAX_BYTES = 64 * 1024
PAGES = (b"<!doctype html", b"<html")


class SoundStream:
    """A StreamedAnswer (proxy/metering/endpoint.py). `estimate`: its tokens, once it has begun.

    It has finished where upstream's answer is whole. One that fails cannot say so: its connection is broken off.
    """

    waits_for = 0
    is_cut = broke_off = False
    report = None

    def __init__(self, *, estimate: int) -> None:
        self._estimate = estimate
        self._first = b""
        self.said_something = 0
        self.done = False
        self.failure: BadAnswer | None = None

    @property
    def size(self) -> PiecesSize:
        return PiecesSize(self._estimate if self.begun else 0)

    @property
    def begun(self) -> bool:
        return bool(self.said_something)

    @property
    def finished(self) -> bool:
        return self.done

    @property
    def is_final(self) -> bool:
        return self.done

    def alive(self) -> bytes:
        return b""

    def allow(self, output: int | None) -> bytes:
        return b""  # all of it is held for

    def feed(self, chunk: bytes) -> bytes:
        if not self.begun:
            self._first += chunk
            begins = self._first.lstrip()
            if (not begins or begins.startswith(TEXT_BEGINS)) and len(self._first) <= TEXT_MAX_BYTES:
                return b""
            chunk, self._first = self._first, b""
        self.said_something += bool(chunk)
        return chunk

    def end(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            self.failure = _no_sound(first)
            if self.failure is None:
                self.said_something += 1
        elif not self.begun:
            self.failure = BadAnswer("no sound")
        self.done = self.failure is None
        return b"" if self.failure else first

    def stop(self) -> None:
        self.done = True

    def cut(self) -> None:
        """Nobody could tell that it ended early."""

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        return b""

    def failed(self, error: APIError) -> None:
        return None


def _no_sound(text: bytes) -> BadAnswer | None:
    """Why this is a text and no sound; None where it may be some."""
    if text.lstrip()[:16].lower().startswith(PAGES):
        return BadAnswer("a page in place of sound")
    try:
        return BadAnswer("an error in place of sound", error=error_of(orjson.loads(text)))
    except orjson.JSONDecodeError:
        return None
