"""What a statement is to contain, as it is chosen: a kind, and days by either calendar."""

import re
from datetime import date, datetime, time, timedelta
from typing import Any

import jdatetime
from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.formats import TEHRAN
from accounts.phone import ascii_digits
from wallet.forms import IGNORED, LTR
from wallet.models import JournalEntry
from wallet.statements import Filter

DAY = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})")
JALALI_YEARS = range(1300, 1600)
GREGORIAN_YEARS = range(1900, 2200)


class DayField(forms.CharField):
    """A day such as 1405/09/02 or 2026-11-23, in the digits of any script, as a date; empty is allowed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=40, required=False, widget=forms.TextInput(attrs=LTR), **kwargs)

    def clean(self, value: Any) -> date | None:
        given = super().clean(value)
        if not given:
            return None
        found = DAY.fullmatch(IGNORED.sub("", ascii_digits(given)))
        try:
            day = _day(*(int(part) for part in found.groups())) if found else None
        except ValueError:  # the 31st of a shorter month
            day = None
        if day is None:
            raise forms.ValidationError(_("Write a day like 1405/09/02 or 2026-11-23."))
        return day


def _day(year: int, month: int, day: int) -> date | None:
    if year in GREGORIAN_YEARS:
        return date(year, month, day)
    if year in JALALI_YEARS:
        gregorian: date = jdatetime.date(year, month, day).togregorian()
        return gregorian
    return None


class StatementForm(forms.Form):
    kind = forms.ChoiceField(
        label=_("What for"), required=False, choices=[("", _("everything")), *JournalEntry.Kind.choices]
    )
    since = DayField(label=_("From the day"))
    until = DayField(label=_("To the day"))

    def wanted(self) -> Filter:
        """What a valid form asks for; both days are meant whole."""
        kind, since, until = (self.cleaned_data[name] for name in ("kind", "since", "until"))
        return Filter(
            kind=JournalEntry.Kind(kind) if kind else None,
            since=_midnight(since) if since else None,
            until=_midnight(until + timedelta(days=1)) if until else None,
        )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=TEHRAN)
