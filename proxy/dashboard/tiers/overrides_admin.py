"""Exceptions to tiers in the admin: for a user or for a key, with a reason and a last day."""

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import phone
from accounts.approval_admin import admin_id, may_touch, staff_only
from accounts.limit_models import LIMITS
from accounts.models import User
from accounts.read_only_admin import ReadOnlyAdmin
from accounts.shared import formats
from accounts.shared.fields import LTR, DayField
from keys import overrides
from keys.models import APIKey, LimitOverride, OverrideModelLimit
from proxy.dashboard.tiers.model_limits import ModelLimitInline


class OverrideForm(forms.ModelForm):  # type: ignore[type-arg]
    request: HttpRequest  # set by LimitOverrideAdmin
    mobile = forms.CharField(
        label=_("Mobile number"),
        max_length=phone.MAX_TYPED_LENGTH,
        widget=forms.TextInput(attrs={"inputmode": "tel", **LTR}),
    )
    last_four = forms.CharField(
        label=_("last four"),
        max_length=4,
        required=False,
        widget=forms.TextInput(attrs=LTR),
        help_text=_("Of one key of this account, which alone it is for. Empty: for all keys."),
    )
    first_day = DayField(label=_("first day"), help_text=_("Empty: from now on."))
    last_day = DayField(
        label=_("last day"),
        help_text=_("Such as 1405/09/30 or 2026-12-21. It ends by itself at that day's midnight."),
    )

    class Meta:
        model = LimitOverride
        fields = ("mobile", "last_four", "first_day", "last_day", "reason", *LIMITS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["last_day"].required = True

    def clean_mobile(self) -> str:
        """Also finds the account."""
        try:
            mobile = phone.normalise(self.cleaned_data["mobile"])
        except phone.InvalidMobile:
            raise ValidationError(
                _("This is not an Iranian mobile number. Enter it like 09121234567.")
            ) from None
        user = User.objects.filter(mobile=mobile).first()
        if user is None:
            raise ValidationError(_("No account has this number."))
        if not may_touch(self.request, user):
            raise ValidationError(staff_only())
        self.instance.user = user
        return mobile

    def clean_last_four(self) -> str:
        last_four: str = self.cleaned_data["last_four"].strip()
        if not last_four or self.instance.user is None:
            return last_four
        keys = list(APIKey.objects.filter(user=self.instance.user, last_four=last_four, revoked_at=None)[:2])
        if not keys:
            raise ValidationError(_("This account has no working key that ends so."))
        if len(keys) > 1:
            raise ValidationError(
                _("Several keys of this account end so. Revoke or replace one of them first.")
            )
        self.instance.user, self.instance.key = None, keys[0]
        return last_four

    def clean_last_day(self) -> Any:
        day = self.cleaned_data["last_day"]
        if day < timezone.localdate():
            raise ValidationError(_("This day is over. Enter today or a later one."))
        self.instance.ends_at = _midnight(day + timedelta(days=1))
        return day

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return data
        first, now = data["first_day"], timezone.now()
        if first is not None and first < timezone.localdate(now):
            self.add_error("first_day", _("This day is over. Enter today or a later one."))
        elif first is not None and first > data["last_day"]:
            self.add_error("first_day", _("The first day lies after the last one."))
        else:
            self.instance.starts_at = now if first is None else max(now, _midnight(first))
            try:
                overrides.check(self.instance)
            except overrides.Overlaps as error:
                self.add_error(None, _overlaps(error.other))
        return data


class OverrideModelLimitFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.forms if form.has_changed() and not form.cleaned_data.get("DELETE")]
        if not kept and all(getattr(self.instance, name) is None for name in LIMITS):
            raise ValidationError(_("Set at least one limit, over all models or for one of them."))


class OverrideModelLimitInline(ModelLimitInline):
    model = OverrideModelLimit
    formset = OverrideModelLimitFormSet


@admin.register(LimitOverride)
class LimitOverrideAdmin(ReadOnlyAdmin):
    """Made here and ended early by the list's action; never edited, so that the list says what held when."""

    form = OverrideForm
    inlines = (OverrideModelLimitInline,)
    list_display = ("whose", "what", "begins", "ends", "state", "reason", "set_by")
    list_filter = (("key", admin.EmptyFieldListFilter),)
    list_select_related = ("user", "key__user", "set_by")
    search_fields = ("user__mobile", "key__user__mobile", "=key__last_four", "reason")
    actions = ("end_now",)
    seen = ("whose", *LIMITS, "begins", "ends", "state", "reason", "set_by", "set_on")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("keys.add_limitoverride")

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("keys.change_limitoverride")

    def get_fields(self, request: HttpRequest, obj: LimitOverride | None = None) -> Any:
        return OverrideForm.Meta.fields if obj is None else self.seen

    def get_readonly_fields(self, request: HttpRequest, obj: LimitOverride | None = None) -> Any:
        return () if obj is None else self.seen

    def get_form(
        self, request: HttpRequest, obj: LimitOverride | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.request = request
        return form

    def save_model(self, request: HttpRequest, obj: LimitOverride, form: Any, change: bool) -> None:
        obj.set_by_id = admin_id(request)
        super().save_model(request, obj, form, change)

    @admin.action(description=_("End now"), permissions=["end"])
    def end_now(self, request: HttpRequest, chosen: QuerySet[LimitOverride]) -> None:
        ended = sum(overrides.end(override_id=pk) for pk in chosen.values_list("pk", flat=True))
        said = ngettext("%(count)d exception was ended.", "%(count)d exceptions were ended.", ended)
        self.message_user(request, said % {"count": ended}, messages.SUCCESS)

    @admin.display(description=_("for"))
    def whose(self, override: LimitOverride) -> str:
        if override.key is not None:
            return f"{override.key.user}, {override.key}"
        return str(override.user)

    @admin.display(description=_("limits"))
    def what(self, override: LimitOverride) -> str:
        language = get_language()
        named = [
            f"{label_for_field(name, LimitOverride)}: {formats.number_text(value, language=language)}"
            for name in LIMITS
            if (value := getattr(override, name)) is not None
        ]
        return "; ".join([*named, *(each.model for each in override.model_limits.all())])

    @admin.display(description=_("from"), ordering="starts_at")
    def begins(self, override: LimitOverride) -> str:
        return formats.datetime_text(override.starts_at, language=get_language())

    @admin.display(description=_("until"), ordering="ends_at")
    def ends(self, override: LimitOverride) -> str:
        return formats.datetime_text(override.ends_at, language=get_language())

    @admin.display(description=_("set at"))
    def set_on(self, override: LimitOverride) -> str:
        return formats.datetime_text(override.set_at, language=get_language())

    @admin.display(description=_("state"))
    def state(self, override: LimitOverride) -> str:
        now = timezone.now()
        if override.ends_at <= now:
            return gettext("ended")
        return gettext("not begun") if override.starts_at > now else gettext("in effect")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LimitOverride]:
        return super().get_queryset(request).prefetch_related("model_limits")


def _midnight(day: Any) -> datetime:
    return datetime.combine(day, time(), tzinfo=formats.TEHRAN)


def _overlaps(other: LimitOverride) -> str:
    language = get_language()
    return gettext(
        "Another exception of the same user or key holds from %(from)s until %(until)s. End that one first, or choose "
        "other days."
    ) % {
        "from": formats.datetime_text(other.starts_at, language=language),
        "until": formats.datetime_text(other.ends_at, language=language),
    }
