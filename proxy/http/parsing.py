"""Bodies: one JSON object, whatever the Content-Type says (facts of the SDKs; the contract names none)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import msgspec
from rest_framework.parsers import BaseParser

from proxy.catalogue.request_fields import ESCAPED_LETTERS
from proxy.catalogue.tokens import expansion_bytes
from proxy.errors import APIError
from proxy.http import json_bounds

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Fields = dict[str, msgspec.Raw]
Compacting = Callable[[bytes], bytes]

_read_fields = msgspec.json.Decoder(Fields).decode
decode_anything = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as its top-level fields. `text_bytes`: its size as compact JSON; `expansion_bytes`: see PromptSize.

    `compacted` makes any piece of the body as short as it is in there, so that sizes can be subtracted.
    """

    fields: Fields
    text_bytes: int
    expansion_bytes: int
    compacted: Compacting


def read_payload(body: bytes) -> Payload:
    """Cuts a JSON object. Raises APIError invalid_json, also for lone surrogates and absurd nesting.

    Of members that stand twice in an object the last one counts, and is all that is sent on.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        fields = _read_fields(body)
        if not body.isascii():
            body.decode()  # fields that are only cut out are not looked into
        compact, compacted = as_compact(body)
        for name, value in fields.items():
            fields[name] = _with_each_member_once(value)
        return Payload(fields, len(compact), expansion_bytes(compact), compacted)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise APIError("invalid_json") from None


class _StandsTwice(Exception):
    pass


def _with_each_member_once(value: msgspec.Raw) -> msgspec.Raw:
    """The same; written anew where an object has a member twice, since some servers read the first one.

    What has no types is not looked into: they say what a tool, an item or a part is.
    """
    written = bytes(value)
    if b'"type"' not in written and not ESCAPED_LETTERS.search(written):
        return value
    try:
        json.loads(written, object_pairs_hook=_check_members, parse_int=len, parse_float=len, strict=False)
    except _StandsTwice:
        return msgspec.Raw(_written_anew(written))
    return value


def _check_members(members: list[tuple[str, Any]]) -> None:
    if len(members) > 1 and len(dict(members)) != len(members):
        raise _StandsTwice


def as_compact(body: bytes) -> tuple[bytes, Compacting]:
    r"""The same JSON without escapes (`\u0633` is six bytes for two) and line ends, and how it was made so."""
    compacted = _written_anew if b"\\u" in body else _without_spaces if b"\n" in body else bytes
    try:
        return compacted(body), compacted
    except (msgspec.MsgspecError, RecursionError):  # a number that no float holds: it stays as it came
        return body, bytes


def _written_anew(value: bytes) -> bytes:
    return msgspec.json.encode(decode_anything(value))


def _without_spaces(value: bytes) -> bytes:
    return msgspec.json.format(value, indent=-1)


class JSONObjectParser(BaseParser):
    media_type = "*/*"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Payload:  # type: ignore[override]
        """Raises APIError invalid_json, request_too_large."""
        body = stream.read()
        try:
            json_bounds.check(body)
        except json_bounds.TooDeep:
            raise APIError("invalid_json", detail="nested too deeply") from None
        except json_bounds.TooMany:
            raise APIError(
                "request_too_large", message="The request body has too many JSON values."
            ) from None
        return read_payload(body)
