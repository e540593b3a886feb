"""How answers are kept: compressed, then encrypted and bound to their request and account (AES-256-GCM).

Each has a key of its own, derived from one of settings.FIELD_KEYS.
"""

import os
import uuid
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

INFO = b"hamiran kept answers"
NONCE_BYTES = 12
QUICK = 1  # zlib's level


class Unreadable(Exception):
    """Kept for another request or account, changed since, or under a key that FIELD_KEYS does not hold."""


def seal(answer: bytes, *, request_id: uuid.UUID, user_id: int) -> bytes:
    about, nonce = _about(request_id, user_id), os.urandom(NONCE_BYTES)
    cipher = _cipher(settings.FIELD_KEYS[0], about)
    return nonce + cipher.encrypt(nonce, zlib.compress(answer, QUICK), about)


def unseal(sealed: bytes, *, request_id: uuid.UUID, user_id: int) -> bytes:
    """Raises Unreadable."""
    about, nonce = _about(request_id, user_id), sealed[:NONCE_BYTES]
    for field_key in settings.FIELD_KEYS:
        try:
            return zlib.decompress(_cipher(field_key, about).decrypt(nonce, sealed[NONCE_BYTES:], about))
        except (InvalidTag, ValueError):  # the latter for what is too short
            continue
    raise Unreadable(request_id)


def _about(request_id: uuid.UUID, user_id: int) -> bytes:
    return request_id.bytes + user_id.to_bytes(8)


def _cipher(field_key: str, about: bytes) -> AESGCM:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=INFO + about)
    return AESGCM(derivation.derive(field_key.strip().encode()))
