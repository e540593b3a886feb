"""What a response says, as it is counted: every text of its items, by its place. Pure."""

from collections.abc import Iterator
from typing import Any

# Which item it is, by its id or its number in the output; and where in it a text stands.
Key = str | int
Place = tuple[Key, str]
PARTS = (("content", ""), ("summary", "summary"))
TEXTS = ("text", "refusal", "transcript")
WHOLES = ("arguments", "input", "code", "name")
# What other items say lies in here (commands, patches), at any depth.
OTHERS = ("action", "operation", "output", "result")
NOT_SAID = frozenset({"type", "id", "call_id", "status", "role", "environment"})
DEEP = 5


def texts_of(item: Any, key: Key) -> Iterator[tuple[Place, str]]:
    if not isinstance(item, dict):
        return
    for name, mark in PARTS:
        parts = item.get(name)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            yield (key, f"{mark}{index}"), text_of_part(part)
    for name in WHOLES:
        if isinstance(text := item.get(name), str):
            yield (key, name), text
    for name in OTHERS:
        if name in item:
            yield (key, name), "".join(_strings(item[name], DEEP))


def text_of_part(part: Any) -> str:
    if not isinstance(part, dict):
        return ""
    return "".join(text for name in TEXTS if isinstance(text := part.get(name), str))


def _strings(value: Any, deep: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif deep and isinstance(value, list):
        for one in value:
            yield from _strings(one, deep - 1)
    elif deep and isinstance(value, dict):
        for name, one in value.items():
            if name not in NOT_SAID:
                yield from _strings(one, deep - 1)
