"""What the usage pages are asked for: a period, a key, a model, an endpoint; and in the log an outcome, an end user and
the client's own id."""

import re
from datetime import date, datetime
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import LTR, DayField
from proxy.catalogue.endpoints import ENDPOINTS
from proxy.usage import log as usage_log
from proxy.usage import periods
from proxy.usage.figures import KeyLabel
from proxy.usage.models import UsageRecord
from proxy.usage.origins import CLIENT_REQUEST_ID_MAX, DIGEST_BYTES, end_user
from proxy.usage.periods import Period

DAYS = "days"
FAILED = "failed"
PERIODS = [
    ("24h", _("24 hours")),
    ("48h", _("48 hours")),
    ("7d", _("7 days")),
    ("30d", _("30 days")),
    ("90d", _("90 days")),
    (DAYS, _("Chosen days")),
]
NAME_MAX = 1_000  # of an end user
BY_DIGEST = re.compile(f"user:([0-9a-f]{{{2 * DIGEST_BYTES}}})")
OUTCOMES = [("", _("every outcome")), (FAILED, _("failed, for any reason")), *UsageRecord.Outcome.choices]


class UsageForm(forms.Form):
    """Read from a URL: what is missing or unknown there gets a default; only days that were typed can be wrong."""

    period = forms.ChoiceField(label=_("Period"), required=False, choices=PERIODS, widget=forms.RadioSelect)
    since = DayField(label=_("From the day"))
    until = DayField(label=_("To the day"))
    key = forms.ChoiceField(label=_("Key"), required=False)
    model = forms.CharField(label=_("Model"), required=False, max_length=120, widget=forms.Select)
    endpoint = forms.ChoiceField(
        label=_("Endpoint"),
        required=False,
        choices=[("", _("all endpoints")), *((name, name) for name in ENDPOINTS)],
    )

    def __init__(self, data: Any, *, now: datetime, keys: dict[int, KeyLabel]) -> None:
        given = data.copy()
        if given.get("period") not in dict(PERIODS):
            typed = given.get("since") or given.get("until")
            given["period"] = DAYS if typed else periods.DEFAULT
        super().__init__(given)
        self.now = now
        names = [(str(key_id), _key_text(label)) for key_id, label in keys.items()]
        self.fields["key"].choices = [("", _("all keys")), *names]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("period") == DAYS and not self.errors:
            self._check_days(cleaned["since"], cleaned["until"])
        return cleaned

    def _check_days(self, since: date | None, until: date | None) -> None:
        today = timezone.localdate(self.now)
        if since is None and until is None:
            return  # none is chosen yet: the usual period is shown meanwhile
        if since is None:
            self.add_error("since", _("Enter the first day, such as 1405/09/02 or 2026-11-23."))
        elif since > today:
            self.add_error("since", _("This day has not come yet."))
        elif until is not None and until < since:
            self.add_error("until", _("The last day comes before the first one."))
        elif (min(until or today, today) - since).days >= periods.DAYS_MAX:
            self.add_error("until", _("Choose a year at most."))

    def chosen_period(self) -> Period:
        """The period of a valid form; its days are whole days, and none lies in the future."""
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        if self.cleaned_data["period"] != DAYS:
            return periods.preset(self.cleaned_data["period"], now=self.now)
        if since is None:
            return periods.preset(periods.DEFAULT, now=self.now)
        today = timezone.localdate(self.now)
        return periods.of_days(since, min(until or today, today))

    def key_id(self) -> int | None:
        return int(self.cleaned_data["key"]) if self.cleaned_data["key"] else None

    def model_id(self) -> str | None:
        return self.cleaned_data["model"] or None

    def endpoint_name(self) -> str | None:
        return self.cleaned_data["endpoint"] or None

    def offer_models(self, models: list[str]) -> None:
        """Offers these models, and the one that is chosen now."""
        chosen = self.data.get("model")
        names = sorted({*models, chosen} if chosen else {*models})
        self.fields["model"].widget.choices = [("", _("all models")), *((name, name) for name in names)]


class LogForm(UsageForm):
    """Likewise for the request log."""

    outcome = forms.ChoiceField(label=_("Outcome"), required=False, choices=OUTCOMES)
    user = forms.CharField(label=_("End user"), required=False, max_length=NAME_MAX)
    client_id = forms.CharField(
        label=_("Your request id"),
        required=False,
        max_length=CLIENT_REQUEST_ID_MAX,
        widget=forms.TextInput(attrs=LTR),
    )

    def wanted(self, *, user_id: int) -> usage_log.Filter:
        """What a valid form of this account asks for."""
        outcome = self.cleaned_data["outcome"]
        if outcome == FAILED:
            outcomes: tuple[UsageRecord.Outcome, ...] | None = usage_log.FAILED
        else:
            outcomes = (UsageRecord.Outcome(outcome),) if outcome else None
        return usage_log.Filter(
            self.chosen_period(),
            self.key_id(),
            self.model_id(),
            outcomes,
            self.endpoint_name(),
            _digest(self.cleaned_data["user"], user_id=user_id),
            self.cleaned_data["client_id"] or None,
        )


def _digest(name: str, *, user_id: int) -> bytes | None:
    """Of an end user by name, or by the digest that links of the usage page have: a long name is not known there."""
    if found := BY_DIGEST.fullmatch(name):
        return bytes.fromhex(found[1])
    named = end_user(name, user_id=user_id)
    return named.digest if named else None


def _key_text(label: KeyLabel) -> str:
    return f"{label.name} (hm-…{label.last_four})" if label.last_four else label.name
