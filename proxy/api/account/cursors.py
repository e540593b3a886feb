"""Where a page of sums begins: the values of the group before it, sealed to the question that they answer. Pure."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from proxy.api import fields

SEAL_BYTES = 6


def written(values: Sequence[Any], *, asked: Sequence[str]) -> str:
    content = orjson.dumps([value.hex() if isinstance(value, bytes) else value for value in values])
    return base64.urlsafe_b64encode(_seal(content, asked) + content).decode().rstrip("=")


def read(text: str | None, *, asked: Sequence[str], kinds: Sequence[str]) -> tuple[Any, ...] | None:
    """None at the beginning. Raises APIError invalid_value: broken, or the cursor of another question."""
    if text is None:
        return None
    try:
        sealed = base64.b64decode(
            text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
        )
    except ValueError:
        raise _broken() from None
    content = sealed[SEAL_BYTES:]
    if not kinds or _seal(content, asked) != sealed[:SEAL_BYTES]:
        raise _broken()
    try:
        return tuple(_value(kind, value) for kind, value in zip(kinds, orjson.loads(content), strict=True))
    except (ValueError, TypeError):  # sealed by hand
        raise _broken() from None


def _broken() -> Exception:
    return fields.invalid("after", 'the "next_after" of a page of the same question')


def _seal(content: bytes, asked: Sequence[str]) -> bytes:
    """No secret: nobody gains by another place. It tells what was cut, or belongs elsewhere."""
    return hashlib.sha256(orjson.dumps(list(asked)) + content).digest()[:SEAL_BYTES]


def _value(kind: str, value: Any) -> Any:
    """Raises ValueError, TypeError for what no group has."""
    match kind:
        case "day" | "hour":
            return datetime.fromisoformat(value)
        case "user":
            return bytes.fromhex(value)
        case "key":
            if type(value) is not int or not 0 <= value < 2**63:
                raise ValueError(value)
        case _:
            if not isinstance(value, str) or "\0" in value:
                raise ValueError(value)
    return value
