"""What a key looks like and how it is recognised without being stored. Pure: no Django, no I/O.

`hm-`, 30 random base62 characters (178 bits), then the CRC32 of those 30 as 6 base62 characters. The checksum
lets garbage be refused before anything is looked up, and secret scanners tell a real key from a look-alike.
"""

import hmac
import re
import secrets
from zlib import crc32

PREFIX = "hm-"
RANDOM_LENGTH = 30
CHECKSUM_LENGTH = 6
LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SHAPE = re.compile(f"{PREFIX}([0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})")


def generate() -> str:
    """A new key."""
    body = "".join(secrets.choice(BASE62) for _ in range(RANDOM_LENGTH))
    return PREFIX + body + checksum(body)


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
    match = SHAPE.fullmatch(text)
    return match is not None and checksum(match[1]) == match[2]


def digest(secret: str, pepper: bytes) -> bytes:
    """HMAC-SHA256 (32 bytes): what is stored and looked up. `secret` must be ASCII."""
    return hmac.digest(pepper, secret.encode("ascii"), "sha256")
