"""How money is shown to admins, who can find and read it but not change it. Amounts are in Toman."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts import read_only_admin
from wallet import wording
from wallet.credits.models import Adjustment, PromoRedemption
from wallet.ledger.models import Hold, JournalEntry
from wallet.payments.models import TopUp


class ReadOnlyAdmin(read_only_admin.ReadOnlyAdmin):
    @admin.display(description=_("amount"))
    def amount(self, row: Hold | JournalEntry | TopUp | Adjustment | PromoRedemption) -> str:
        return toman(row.amount_micro)

    @admin.display(description=_("user"))
    def owner(self, row: Hold | JournalEntry | Adjustment | PromoRedemption) -> str:
        return "-" if row.wallet is None else str(row.wallet.user)


def toman(micro: int | None) -> str:
    """An amount in micro-Rial as Toman, with the unit."""
    return "-" if micro is None else wording.toman(micro)
