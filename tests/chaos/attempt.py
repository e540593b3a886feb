"""One request as its client saw it, and how it ended."""

import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from tests.dialects import Dialect


class Ending(StrEnum):
    """How a request ended for its client."""

    WHOLE = "answer received whole"
    ERROR_STATUS = "error status"
    ERROR_EVENT = "error in the stream"
    OUT_OF_MONEY = "stream ended for want of money"
    LEFT = "client left on purpose"
    CUT = "connection broke"
    HUNG = "client gave up waiting"
    NOT_SENT = "connection refused"
    NAMED = "repeat was told what the first request cost"


# What an answer has been paid for.
PAID = {Ending.WHOLE, Ending.OUT_OF_MONEY, Ending.NAMED}


@dataclass
class Attempt:
    """One request as its client saw it. Times are of the monotonic clock. Repeats have the serial of the first one."""

    serial: int
    user_id: int
    kind: str
    stream: bool
    client: Dialect
    upstream: Dialect
    web: int = 0
    began: float = 0.0
    ended: float = 0.0
    request_id: uuid.UUID | None = None
    status: int | None = None
    ending: Ending = Ending.NOT_SENT
    detail: str = ""
    letters: int = 0  # received, of a stream
    pieces_micro: int = 0  # what its pieces cost, where it is billed by these
    idempotency_key: str | None = None
    original_id: uuid.UUID | None = None  # of the request that this was told to repeat
    told_micro: int | None = None  # what that one cost
    wait_seconds: float | None = None  # as Retry-After says
    received: bytes = field(default=b"", repr=False)

    @property
    def paid_as(self) -> uuid.UUID | None:
        return self.original_id or self.request_id

    @property
    def is_final(self) -> bool:
        """Whether a repeat would change nothing, or would not help."""
        refused = self.ending == Ending.ERROR_STATUS and self.status is not None and self.status < 500
        return self.ending in PAID or (refused and self.detail != "request_in_progress")
