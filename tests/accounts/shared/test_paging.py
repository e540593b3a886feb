"""A list of millions of rows is paged without being counted."""

from typing import Any

import pytest

from accounts.models import User
from accounts.shared import paging
from tests.factories import UserFactory


@pytest.mark.django_db
def test_what_lies_deeper_than_is_counted_takes_no_time(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(paging, "COUNTED_MAX", 4)
    people = UserFactory.create_batch(6)
    mine = User.objects.filter(pk__in=[each.pk for each in people]).order_by("pk")
    pages = paging.ShallowPaginator(mine, 2)
    with django_assert_num_queries(1):
        assert (pages.count, pages.num_pages) == (4, 2)
    assert list(pages.page(2)) == people[2:4]
    assert paging.ShallowPaginator(list(mine), 2).count == 6
