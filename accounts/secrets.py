"""Secrets at rest that have to be read again (upstream API keys, seeds of authenticators): encrypted under keys derived
from settings.FIELD_KEYS, the newest first."""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

INFO = b"hamiran upstream secrets"  # as it was when upstream keys were all there was: what is stored needs it


class Undecryptable(Exception):
    """None of the keys in FIELD_KEYS encrypted this secret."""


def encrypt(secret: str) -> bytes:
    """The secret under the newest key. An empty secret (such as of an upstream without a key) stays empty."""
    return _fernet(tuple(settings.FIELD_KEYS)).encrypt(secret.encode()) if secret else b""


def decrypt(encrypted: bytes | memoryview) -> str:
    """Raises Undecryptable."""
    token = bytes(encrypted)
    if not token:
        return ""
    try:
        return _fernet(tuple(settings.FIELD_KEYS)).decrypt(token).decode()
    except InvalidToken:
        raise Undecryptable(
            "A stored secret was encrypted under a key that FIELD_KEYS does not hold."
        ) from None


def rotate(encrypted: bytes | memoryview) -> bytes:
    """The same secret under the newest key. Raises Undecryptable."""
    return encrypt(decrypt(encrypted))


@lru_cache(maxsize=4)
def _fernet(field_keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_derived(key.strip())) for key in field_keys])


def _derived(field_key: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=INFO)
    return base64.urlsafe_b64encode(derivation.derive(field_key.encode()))
