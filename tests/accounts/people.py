"""People and clocks for the tests of accounts."""

import itertools
from datetime import UTC, datetime

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
_numbers = itertools.count(1)


def new_mobile() -> str:
    """A number that no other test uses; factories take +98912…"""
    return f"+98913{next(_numbers):07d}"


def new_address() -> str:
    count = next(_numbers)
    return f"10.{count >> 16 & 255}.{count >> 8 & 255}.{count & 255}"


def another(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"
