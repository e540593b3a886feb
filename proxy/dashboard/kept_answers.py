"""The settings page's part about kept answers: whether, for how long, and what there is now."""

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.shared import signed_in
from accounts.shared.formats import number_text
from proxy.idempotency import keeping
from proxy.idempotency.models import HOURS_MAX


def hours_text(hours: int) -> str:
    text = ngettext("%(count)s hour", "%(count)s hours", hours)
    return text % {"count": number_text(hours, language=get_language())}


class KeepingForm(forms.Form):
    hours = forms.TypedChoiceField(label=gettext_lazy("Keep answers for"), coerce=int, empty_value=None)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        field = self.fields["hours"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = [(hours, hours_text(hours)) for hours in range(1, HOURS_MAX + 1)]


@require_POST
@login_required
def keep(request: HttpRequest) -> HttpResponse:
    form = KeepingForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose a time from 1 to 24 hours."))
    else:
        keeping.keep(user_id=signed_in.user_id(request), hours=form.cleaned_data["hours"])
        kept_for = {"hours": hours_text(form.cleaned_data["hours"])}
        messages.success(
            request, _("Answers to requests with an Idempotency-Key are now kept for %(hours)s.") % kept_for
        )
    return redirect("accounts:settings")


@require_POST
@login_required
def stop(request: HttpRequest) -> HttpResponse:
    deleted = keeping.stop(user_id=signed_in.user_id(request))
    stopped = _("No answers are kept any more.")  # xgettext does not look into f-strings
    messages.success(request, f"{stopped} {_deleted_text(deleted)}")
    return redirect("accounts:settings")


@require_POST
@login_required
def delete(request: HttpRequest) -> HttpResponse:
    messages.success(request, _deleted_text(keeping.delete(user_id=signed_in.user_id(request))))
    return redirect("accounts:settings")


def _deleted_text(count: int) -> str:
    text = ngettext("%(count)s kept answer was deleted.", "%(count)s kept answers were deleted.", count)
    return text % {"count": number_text(count, language=get_language())}
