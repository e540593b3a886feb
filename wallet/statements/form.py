"""What a statement is to contain, as it is chosen: a kind, and days by either calendar."""

from datetime import date, datetime, time, timedelta

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import DayField
from accounts.shared.formats import TEHRAN
from wallet.ledger.models import JournalEntry
from wallet.statements.lines import Filter


class StatementForm(forms.Form):
    kind = forms.ChoiceField(
        label=_("What for"), required=False, choices=[("", _("everything")), *JournalEntry.Kind.choices]
    )
    since = DayField(label=_("From the day"))
    until = DayField(label=_("To the day"))

    def wanted(self) -> Filter:
        """What a valid form asks for; both days are whole days."""
        kind, since, until = (self.cleaned_data[name] for name in ("kind", "since", "until"))
        return Filter(
            kind=JournalEntry.Kind(kind) if kind else None,
            since=_midnight(since) if since else None,
            until=_midnight(until + timedelta(days=1)) if until else None,
        )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=TEHRAN)
