"""Server-sent events cut out of a byte stream, verbatim. Pure."""

from typing import Any

import orjson

EVENT_MAX_BYTES = 32 * 1024 * 1024
WITHOUT_DATA = (b":", b"event:", b"id:", b"retry:")  # how comments and events without data begin
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"  # a comment: named events break official SDKs


class EventTooLarge(Exception):
    """No event ended within EVENT_MAX_BYTES."""


class EventSplitter:
    r"""Feeds on chunks cut anywhere and gives whole events, each with its blank line at the end.

    Line ends may be `\n`, `\r\n` or `\r`; events come out with `\n`.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0
        self._carriage_return = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events completed by `chunk`. Raises EventTooLarge."""
        if (
            not self._rest
            and not self._carriage_return
            and chunk.find(b"\n\n") == len(chunk) - 2
            and len(chunk) > 2
            and b"\r" not in chunk
        ):
            return [chunk]  # one event, as most upstreams send them
        if self._carriage_return or b"\r" in chunk:
            chunk = self._carriage_return + chunk
            # A last "\r" may be half of "\r\n": it waits for its other half.
            self._carriage_return = b"\r" if chunk.endswith(b"\r") else b""
            chunk = chunk.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        rest = self._rest
        rest += chunk
        events = []
        # What was searched is not searched again: a 10 MB event in small chunks stays linear.
        start, searched = 0, max(self._searched - 1, 0)
        while (end := rest.find(b"\n\n", searched)) >= 0:
            end += 2
            if end - start > 2:
                events.append(bytes(rest[start:end]))
            start = searched = end
        del rest[:start]
        self._searched = len(rest)
        if len(rest) > EVENT_MAX_BYTES:
            raise EventTooLarge
        return events

    def flush(self) -> list[bytes]:
        """The last event of a stream that ended without its blank line, if any."""
        rest, self._rest = bytes(self._rest).rstrip(b"\n"), bytearray()
        return [rest + b"\n\n"] if rest else []


def data(event: bytes) -> bytes | None:
    """The event's data, or None for a comment or an event without data."""
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def name(event: bytes) -> bytes:
    """What the event is called; empty for most."""
    names = [line[6:].strip() for line in event.split(b"\n") if line.startswith(b"event:")]
    return names[-1] if names else b""


def comments(event: bytes) -> bytes:
    """The comments of an event without data. The rest of it is not for clients: official SDKs break on it."""
    lines = [line for line in event.split(b"\n") if line.startswith(b":")]
    return b"\n".join(lines) + b"\n\n" if lines else b""


def event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


def error_event(body: dict[str, Any]) -> bytes:
    """How a failure after the first byte looks: SDKs raise on a truthy `error`."""
    return event(orjson.dumps(body)) + DONE
