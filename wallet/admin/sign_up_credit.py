"""Sign-up credits in the admin, in Toman: those that wait for a second admin, and what was given on each day."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.approval_admin import AskAndDecideAdmin
from wallet.admin.read_only import ReadOnlyAdmin, toman
from wallet.credits import sign_up_credit
from wallet.credits.models import SignUpCreditChange, SignUpCreditDay


@admin.register(SignUpCreditChange)
class SignUpCreditChangeAdmin(AskAndDecideAdmin):
    """Asked for on a tier's page."""

    approve_permission = "wallet.approve_adjustment"
    list_display = seen = (
        "created_at",
        "tier",
        "present",
        "amount",
        "state",
        "requested_by",
        "approved_by",
        "decided_at",
    )
    list_filter = ("state",)
    list_select_related = ("tier", "requested_by", "approved_by")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def approve_row(self, pk: int, *, admin_id: int) -> None:
        sign_up_credit.approve(change_id=pk, admin_id=admin_id)

    def reject_row(self, pk: int) -> None:
        sign_up_credit.reject(change_id=pk)

    @admin.display(description=_("gives now"))
    def present(self, change: SignUpCreditChange) -> str:
        return toman(change.tier.sign_up_credit_micro)

    @admin.display(description=_("amount"))
    def amount(self, change: SignUpCreditChange) -> str:
        return toman(change.amount_micro)


@admin.register(SignUpCreditDay)
class SignUpCreditDayAdmin(ReadOnlyAdmin):
    list_display = ("day", "given", "refused")
    fields = readonly_fields = list_display

    @admin.display(description=_("given"))
    def given(self, day: SignUpCreditDay) -> str:
        return toman(day.given_micro)
