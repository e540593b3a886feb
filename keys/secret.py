"""What a key looks like and how it is recognised without being stored. Pure: no Django, no I/O.

`hm-`, or `hm-admin-` for one that manages keys, then 30 random base62 characters (178 bits) and the CRC32 of those 30
as 6 base62 characters. The checksum lets garbage be refused before anything is looked up, and secret scanners tell a
real key from a look-alike. Neither kind can be taken for the other.
"""

import hmac
import re
import secrets
from zlib import crc32

PREFIX, ADMIN_PREFIX = "hm-", "hm-admin-"
RANDOM_LENGTH = 30
CHECKSUM_LENGTH = 6
LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
ADMIN_LENGTH = len(ADMIN_PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BODY = f"([0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
SHAPE, ADMIN_SHAPE = re.compile(PREFIX + BODY), re.compile(ADMIN_PREFIX + BODY)


def generate() -> str:
    """A new key."""
    return PREFIX + _body()


def generate_admin() -> str:
    """A new key that manages keys."""
    return ADMIN_PREFIX + _body()


def checksum(body: str) -> str:
    """CRC32 of an ASCII text as 6 base62 characters, zero-padded at the front."""
    rest = crc32(body.encode("ascii"))
    characters = []
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, 62)
        characters.append(BASE62[digit])
    return "".join(reversed(characters))


def has_valid_checksum(text: str) -> bool:
    """Whether `text`, of any length and content, has the shape and the checksum of a key."""
    return _fits(SHAPE, text)


def has_valid_admin_checksum(text: str) -> bool:
    """The same of a key that manages keys."""
    return _fits(ADMIN_SHAPE, text)


def digest(secret: str, pepper: bytes) -> bytes:
    """HMAC-SHA256 (32 bytes): what is stored and looked up. `secret` must be ASCII."""
    return hmac.digest(pepper, secret.encode("ascii"), "sha256")


def _body() -> str:
    body = "".join(secrets.choice(BASE62) for _ in range(RANDOM_LENGTH))
    return body + checksum(body)


def _fits(shape: re.Pattern[str], text: str) -> bool:
    match = shape.fullmatch(text)
    return match is not None and checksum(match[1]) == match[2]
