"""Tiers in the admin, with what they give in Toman. A sign-up credit above the limit waits for a second admin."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import default_tier
from accounts.approval_admin import admin_id
from accounts.limit_models import TierModelLimit
from accounts.models import Tier
from accounts.shared.formats import number_text
from proxy.dashboard.tiers.form import CONFIRMED, TierForm, rule
from proxy.dashboard.tiers.model_limits import ModelLimitInline
from wallet import tiers
from wallet.admin.read_only import toman
from wallet.credits import sign_up_credit


class TierModelLimitInline(ModelLimitInline):
    model = TierModelLimit


@admin.register(Tier)
class TierAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A tier with its limits, those of single models among them, and the rule by which it is earned."""

    form = TierForm
    inlines = (TierModelLimitInline,)
    fieldsets = (
        (None, {"fields": ["name", "is_default", "sign_up_credit"]}),
        (
            _("Limits of one key"),
            {
                "fields": ["rpm", "tpm", "rpd", "tpd", "concurrency", "account_factor"],
                "description": _("A change is in force everywhere within five seconds."),
            },
        ),
        (_("How it is earned"), {"fields": ["min_lifetime_topup", "min_account_age_days"]}),
    )
    list_display = (
        "name",
        "rpm",
        "tpm",
        "rpd",
        "tpd",
        "concurrency",
        "account_factor",
        "credit",
        "from_topup",
        "min_account_age_days",
        "is_default",
    )

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        # One that users still have is protected by the database; the default one is needed by the next sign-in.
        return super().has_delete_permission(request, obj) and not (obj and obj.is_default)

    def save_model(self, request: HttpRequest, obj: Tier, form: TierForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.cleaned_data["is_default"] and not obj.is_default:
            default_tier.choose(tier_id=obj.pk)
        if form.has_new_rule:
            moved = tiers.recompute()  # at once, so that it is who was shown
            said = ngettext("%(count)s user has moved.", "%(count)s users have moved.", moved)
            count = number_text(moved, language=get_language())
            self.message_user(request, said % {"count": count}, messages.SUCCESS)
        if form.waiting_micro is not None:
            sign_up_credit.request(tier=obj, amount_micro=form.waiting_micro, admin_id=admin_id(request))
            said = gettext("The sign-up credit of %(amount)s waits for the approval of a second admin.")
            self.message_user(request, said % {"amount": toman(form.waiting_micro)}, messages.WARNING)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        if isinstance(form, TierForm) and form.moves is not None:
            context |= {"moves": form.moves, "confirmed": CONFIRMED, "rule": rule(form.instance)}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("sign-up credit"))
    def credit(self, tier: Tier) -> str:
        return toman(tier.sign_up_credit_micro)

    @admin.display(description=_("given from a lifetime top-up of"))
    def from_topup(self, tier: Tier) -> str:
        return toman(tier.min_lifetime_topup_micro)
