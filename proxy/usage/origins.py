"""Where a request comes from, in its client's own words: an id of the client's, and for which of its users it asks."""

import hmac
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings

CLIENT_REQUEST_ID_MAX = 128
HINT_MAX = 64  # a longer name is not kept
HINT_START = 20  # of a longer name
DIGEST_BYTES = 16
JOINERS = "\u200c\u200d"  # of Persian words; else what cannot be seen only deceives


@dataclass(frozen=True, slots=True)
class EndUser:
    """A user of a customer's own: `digest` tells them apart within the account, `hint` is for people to read."""

    digest: bytes
    hint: str


@dataclass(frozen=True, slots=True)
class Origin:
    """`client_request_id`: empty where the client gave none; `end_user`: None where it named none."""

    client_request_id: str = ""
    end_user: EndUser | None = None

    def columns(self) -> dict[str, Any]:
        """Of the usage record, as PostgreSQL reads them from JSON."""
        named = self.end_user
        return {
            "client_request_id": self.client_request_id,
            "end_user": None if named is None else rf"\x{named.digest.hex()}",
            "end_user_hint": "" if named is None else named.hint,
        }


UNKNOWN = Origin()


def end_user(name: str, *, user_id: int) -> EndUser | None:
    """The end user whom an account calls so; None for a name of nothing but space.

    Equal names of two accounts have different digests. PostgreSQL holds no NUL and no lone surrogate.
    """
    name = name.strip()
    if not name:
        return None
    message = b"%d:%b" % (user_id, name.encode("utf-8", "surrogatepass"))
    digest = hmac.digest(_secret(_pepper()), message, "sha256")[:DIGEST_BYTES]
    shown = name if name.isprintable() else "".join(filter(_is_seen, name)).strip()
    if len(name) > HINT_MAX:
        shown = f"{shown[:HINT_START]}…"
    if not shown or len(name) > HINT_MAX:
        shown += digest.hex()[:8]
    return EndUser(digest, shown)


def _is_seen(character: str) -> bool:
    return character in JOINERS or unicodedata.category(character)[0] != "C"


def _pepper() -> bytes:
    pepper: bytes = next(iter(settings.PEPPERS.values()))
    return pepper


@cache
def _secret(pepper: bytes) -> bytes:
    return hmac.digest(pepper, b"end users", "sha256")
