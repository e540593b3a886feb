"""What is known of an Idempotency-Key and of the body that came with it: keyed digests, from which neither can be read.

Keyed by the oldest of settings.FIELD_KEYS, so that a newer one beside it changes nothing.
"""

import hashlib
import hmac
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

INFO = b"hamiran idempotency keys"


def of_key(idempotency_key: str, *, user_id: int, holder: tuple[int, ...] = ()) -> bytes:
    """`holder`: who of the account's people sent it. None of them meets another's requests."""
    return _digest(b"key", user_id, [idempotency_key.encode(), *(b"%d" % number for number in holder)])


def of_body(body: bytes, *, path: str, user_id: int) -> bytes:
    return _digest(b"body", user_id, [path.encode(), body])


def of_form(
    fields: Iterable[tuple[str, str]], files: Iterable[tuple[str, Any]], *, path: str, user_id: int
) -> bytes:
    """Of what a form says: the boundary between its parts is another in each repeat."""
    said = [part.encode() for field in fields for part in field]
    for name, file in files:
        said += [name.encode(), (file.name or "").encode(), _content_digest(file)]
    return _digest(b"form", user_id, [path.encode(), *said])


def _content_digest(file: Any) -> bytes:
    file.seek(0)
    try:
        return hashlib.file_digest(file, "sha256").digest()
    finally:
        file.seek(0)


def _digest(what: bytes, user_id: int, parts: Iterable[bytes]) -> bytes:
    keyed = hmac.new(_key(settings.FIELD_KEYS[-1]), b"%b %d" % (what, user_id), hashlib.sha256)
    for part in parts:
        keyed.update(b"\n%d\n" % len(part))
        keyed.update(part)
    return keyed.digest()


@lru_cache(maxsize=2)
def _key(field_key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=INFO).derive(field_key.strip().encode())
