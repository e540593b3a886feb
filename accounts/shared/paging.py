"""Lists in pages: what their addresses may say, read without trusting it, and how far they are counted."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

COUNTED_MAX = 10_000


def cursor(request: HttpRequest) -> int | None:
    """The `before` of a paged list; None on its first page, and if malformed."""
    before = request.GET.get("before", "")
    return int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else None


class ShallowPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """For tables of millions of rows, which it does not count beyond COUNTED_MAX: filters find what lies deeper."""

    @cached_property
    def count(self) -> int:
        if isinstance(self.object_list, QuerySet):
            return self.object_list.order_by()[:COUNTED_MAX].count()
        return len(self.object_list)


class LongList:
    """For the admin of a table of millions of rows: to count them, or to write a hundred, is most of a page's time."""

    show_full_result_count = False
    paginator: Any = ShallowPaginator
    list_per_page = 50
