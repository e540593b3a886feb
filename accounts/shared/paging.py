"""What the addresses of the wallet's pages may say, read without trusting it."""

from django.http import HttpRequest


def cursor(request: HttpRequest) -> int | None:
    """The `before` of a paged list; None on its first page, and if malformed."""
    before = request.GET.get("before", "")
    return int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else None
