"""One-time codes: made, digested, compared, and written into an SMS. Pure: no Django."""

import hashlib
import hmac
import re
import secrets
import uuid

DIGITS = 6
CODE = re.compile(r"[0-9]{6}")
# Peppers serve other secrets too; the label keeps the digests of one kind from meaning anything to another.
LABEL = b"one-time-code"


def new() -> str:
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"


def is_code(text: str) -> bool:
    """Whether `text` is six ASCII digits."""
    return CODE.fullmatch(text) is not None


def digest(*, pepper: bytes, challenge_id: uuid.UUID, mobile: str, code: str) -> bytes:
    """What is stored of a code, 32 bytes. It fits this challenge and this number alone."""
    message = b"\0".join([LABEL, challenge_id.bytes, mobile.encode(), code.encode()])
    return hmac.digest(pepper, message, "sha256")


def matches(stored: bytes, candidate: bytes) -> bool:
    return hmac.compare_digest(stored, candidate)


def new_browser_secret() -> str:
    """What the browser that asked keeps in its session."""
    return secrets.token_urlsafe(24)


def browser_digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def sms_text(*, line: str, host: str, code: str) -> str:
    """The SMS: a line for people, then the line by which browsers offer the code, on `host` alone (WebOTP)."""
    return f"{line}\n\n@{host} #{code}"
