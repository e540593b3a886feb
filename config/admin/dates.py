"""Dates in the admin's lists and forms, by the calendar of the page: Jalali in Persian.

Django's admin writes them by the formats of the language, which know the Gregorian calendar alone, and has no hook.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib.admin import helpers
from django.contrib.admin.templatetags import admin_list
from django.utils.translation import get_language

from accounts.shared import formats

WRITERS = (
    (admin_list, "display_for_field"),
    (admin_list, "display_for_value"),
    (helpers, "display_for_field"),
)


def install() -> None:
    for module, name in WRITERS:
        setattr(module, name, _by_calendar(getattr(module, name)))


def _by_calendar(writer: Callable[..., Any]) -> Callable[..., Any]:
    def write(value: Any, *args: Any, **kwargs: Any) -> Any:
        language = get_language()
        if isinstance(value, datetime) and formats.is_persian(language):
            return formats.datetime_text(value, language=language)
        return writer(value, *args, **kwargs)

    return write
