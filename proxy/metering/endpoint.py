"""What metering asks of an endpoint, and nothing else of it."""

from typing import Any, Protocol

from proxy.catalogue.pricing import Usage
from proxy.catalogue.tokens import TextSize
from proxy.metering.reported_usage import Report
from proxy.upstreams.errors import status_of


class BadAnswer(Exception):
    """Upstream answered something that is no usable completion.

    `error` and `status` are an error's own, where one was told in words. The reason never repeats them: they may
    quote a prompt.
    """

    def __init__(self, reason: str, *, error: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.error = error or {}
        self.status = status_of(self.error) if isinstance(self.error.get("message"), str) else None


class StreamedAnswer(Protocol):
    """A streamed answer on its way through, as its endpoint reads it."""

    size: TextSize
    said_something: int
    done: bool
    is_cut: bool
    broke_off: bool
    failure: BadAnswer | None

    @property
    def begun(self) -> bool: ...

    @property
    def finished(self) -> bool: ...

    @property
    def report(self) -> Report | None: ...

    @property
    def is_final(self) -> bool: ...

    def feed(self, chunk: bytes) -> bytes: ...

    def end(self) -> bytes: ...

    def stop(self) -> None: ...

    def cut(self) -> None: ...

    def tail(self, billed: Usage, cost_toman: float) -> bytes: ...
