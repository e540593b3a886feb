"""Days and moments in the admin's forms, by either calendar: 1405/09/09 is 2026-11-30.

Django takes the former for a day of the year 1405, and its calendar to choose from knows one of the two; so in Persian
there is none, and what a row has stands in its field as people there write it.
"""

from datetime import date
from typing import Any, ClassVar

from django import forms
from django.contrib.admin import options, widgets
from django.db import models
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.shared import days, formats
from accounts.shared.digits import ascii_digits
from accounts.shared.fields import IGNORED, LTR

ENTER_A_DAY = _("Enter a day such as 1405/09/02 or 2026-11-23.")


class DayInput(widgets.BaseAdminDateWidget):
    def __init__(self, attrs: Any = None) -> None:
        # By its class Django's script finds what to put its calendar beside.
        found = {"class": "", "placeholder": "1405/09/02"} if formats.is_persian(get_language()) else {}
        super().__init__(attrs={**LTR, **found, **(attrs or {})})

    def format_value(self, value: Any) -> str | None:
        if isinstance(value, date) and formats.is_persian(get_language()):
            return formats.jalali_day_text(value)
        written: str | None = super().format_value(value)
        return written


class TimeInput(widgets.BaseAdminTimeWidget):
    def __init__(self, attrs: Any = None) -> None:
        super().__init__(attrs={**LTR, **(attrs or {})})


class MomentInput(widgets.AdminSplitDateTime):
    def __init__(self, attrs: Any = None) -> None:
        forms.MultiWidget.__init__(self, [DayInput, TimeInput], attrs)


class DayField(forms.DateField):
    widget = DayInput
    default_error_messages: ClassVar = {"invalid": ENTER_A_DAY}

    def to_python(self, value: Any) -> date | None:
        if not isinstance(value, str) or not value.strip():
            day: date | None = super().to_python(value)
            return day
        try:
            return days.read(IGNORED.sub("", value))
        except ValueError:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


class TimeField(forms.TimeField):
    def to_python(self, value: Any) -> Any:
        return super().to_python(ascii_digits(value) if isinstance(value, str) else value)


class MomentField(forms.SplitDateTimeField):
    widget = MomentInput
    default_error_messages: ClassVar = {
        **forms.SplitDateTimeField.default_error_messages,
        "invalid_date": ENTER_A_DAY,
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fields = (DayField(required=False), TimeField(required=False))  # MultiValueField asks for both


def install() -> None:
    fields: dict[Any, dict[str, Any]] = {
        models.DateField: {"form_class": DayField, "widget": DayInput},
        models.DateTimeField: {"form_class": MomentField, "widget": MomentInput},
    }
    options.FORMFIELD_FOR_DBFIELD_DEFAULTS.update(fields)
