"""What a receiver gets of an event: the same bytes at each attempt. Pure."""

from datetime import UTC, datetime

import orjson


def body(*, event: str, created_at: datetime, data: str) -> bytes:
    """`data` is JSON, as the database writes it, so that no figure loses a digit."""
    timestamp = created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps({"type": event, "timestamp": timestamp, "data": orjson.Fragment(data)})
