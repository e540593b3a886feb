"""How money is shown to admins, who can find and read it but not change it. Amounts are in Toman."""

import contextlib

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import phone
from wallet import wording
from wallet.credits.models import Adjustment, PromoRedemption
from wallet.ledger.models import Hold, JournalEntry
from wallet.payments.models import TopUp


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    show_full_result_count = False  # counting a journal of millions of rows would be most of a page's time

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        with contextlib.suppress(phone.InvalidMobile):  # 0912… as people write it; stored is +98912…
            search_term = phone.normalise(search_term)
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description=_("amount"))
    def amount(self, row: Hold | JournalEntry | TopUp | Adjustment | PromoRedemption) -> str:
        return toman(row.amount_micro)

    @admin.display(description=_("user"))
    def owner(self, row: Hold | JournalEntry | Adjustment | PromoRedemption) -> str:
        return "-" if row.wallet is None else str(row.wallet.user)


def toman(micro: int | None) -> str:
    """An amount in micro-Rial as Toman, with the unit."""
    return "-" if micro is None else wording.toman(micro)
