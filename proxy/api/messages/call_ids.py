"""Ids of tool calls: new in every conversation, and able to carry what an upstream wants back with a call. Pure.

Gemini signs its calls (`extra_content`) and refuses a history without the signatures. Clients of Messages send nothing
back of a call but its id, its name and its input.
"""

import base64
import binascii
from typing import Any

import orjson

from proxy.api.chat_completions.answers import encode
from proxy.api.messages.events import new_id

CARRIES = "_x_"


def call_id(extra: Any = None) -> str:
    made = new_id("toolu")
    if not extra or not isinstance(extra, dict):
        return made
    return made + CARRIES + base64.urlsafe_b64encode(encode(extra)).rstrip(b"=").decode()


def read_call_id(given: str) -> tuple[str, Any]:
    """The id as upstream is told it, and what it carries; None where that is nothing."""
    plain, _carries, carried = given.partition(CARRIES)
    if not carried:
        return given, None
    try:
        extra = orjson.loads(
            base64.b64decode(carried + "=" * (-len(carried) % 4), altchars=b"-_", validate=True)
        )
    except (binascii.Error, ValueError):
        return given, None
    return (plain, extra) if isinstance(extra, dict) else (given, None)
