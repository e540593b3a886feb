"""Pages of the admin on which rows are found, by mobile number among others, and read, but never changed."""

import contextlib
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from accounts import phone
from accounts.shared.paging import LongList


class ReadOnlyAdmin(LongList, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        with contextlib.suppress(phone.InvalidMobile):  # 0912… as people write it; stored is +98912…
            search_term = phone.normalise(search_term)
        return super().get_search_results(request, queryset, search_term)
