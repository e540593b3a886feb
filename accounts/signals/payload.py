"""What a receiver gets of an event: the same bytes at each attempt. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson


def body(*, event: str, created_at: datetime, data: Mapping[str, object]) -> bytes:
    timestamp = created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps({"type": event, "timestamp": timestamp, "data": data})
