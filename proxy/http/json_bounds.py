"""How large a JSON text may become as objects: bounded over its bytes, before any object is made.

Twenty megabytes of `[],[],…` are six million lists. A text is not valid JSON for having passed here: its parser says.
"""

from itertools import accumulate

CONTAINERS_MAX = 200_000  # objects and arrays
VALUES_MAX = 1_000_000  # members and elements, roughly
DEPTH_MAX = 128

NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{},:'))
NOT_OPENERS = bytes(set(range(256)) - set(b"[{"))
STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class TooMany(Exception):
    """More containers or values than a request may have."""


class TooDeep(Exception):
    """Containers nested deeper than a request may nest them."""


def check(text: bytes) -> None:
    """Raises TooMany, TooDeep. What stands in strings, code for one, does not count."""
    openers = len(text.translate(None, NOT_OPENERS))
    if openers <= DEPTH_MAX and (
        len(text) <= VALUES_MAX or openers + text.count(b",") + text.count(b":") <= VALUES_MAX
    ):
        return  # few enough even if none of them stood in a string
    outside = _without_strings(text)
    openers = len(outside.translate(None, NOT_OPENERS))
    if openers > CONTAINERS_MAX or openers + outside.count(b",") + outside.count(b":") > VALUES_MAX:
        raise TooMany
    if openers > DEPTH_MAX:
        brackets = outside.translate(None, b",:")
        if max(accumulate(map(STEPS.__getitem__, brackets))) > DEPTH_MAX:
            raise TooDeep


def _without_strings(text: bytes) -> bytes:
    """The brackets, commas and colons between the strings. Raises TooMany."""
    if b"\\" in text:  # in pairs first: one that is left before a quote then escapes it
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    text = text.translate(None, NOT_STRUCTURE)
    if text.count(b'"') > 2 * VALUES_MAX:
        raise TooMany
    return b"".join(text.split(b'"')[::2])
