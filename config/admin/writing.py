"""How the admin's lists and forms write values: dates as all other pages do; in Persian, by the Jalali calendar, with
figures in Persian digits, and what has no Persian letter (a mobile number, an address) from left to right.

Django's admin writes them by the formats of the language, which know neither, and has no hook.
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from django.contrib.admin import helpers
from django.contrib.admin.templatetags import admin_list
from django.db.models import Field
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext

from accounts.shared import formats

WRITERS = (
    (admin_list, "display_for_field"),
    (admin_list, "display_for_value"),
    (helpers, "display_for_field"),
)

LABELLER = "label_for_field"


def install() -> None:
    for module, name in WRITERS:
        setattr(module, name, _in_the_language(getattr(module, name)))
    for module in (admin_list, helpers):
        setattr(module, LABELLER, _label(getattr(module, LABELLER)))


def _label(writer: Callable[..., Any]) -> Callable[..., Any]:
    """Django's own label of an id is no word that can be translated."""

    def write(name: Any, *args: Any, **kwargs: Any) -> Any:
        label = writer(name, *args, **kwargs)
        if name != "id":
            return label
        return (gettext("ID"), *label[1:]) if isinstance(label, tuple) else gettext("ID")

    return write


def _in_the_language(writer: Callable[..., Any]) -> Callable[..., Any]:
    def write(value: Any, *args: Any, **kwargs: Any) -> Any:
        language = get_language()
        if isinstance(value, date):
            return _date(value, language)
        written = writer(value, *args, **kwargs)
        if not formats.is_persian(language):
            return written
        field = args[0] if args and isinstance(args[0], Field) else None
        return _persian(value, written, field, language)

    return write


def _date(value: date, language: str | None) -> str:
    if isinstance(value, datetime):
        return formats.datetime_text(value, language=language)
    return formats.day_text(value, language=language)


def _persian(value: Any, written: Any, field: Any, language: str | None) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and not (field is not None and field.choices):
        is_id = field is not None and (field.primary_key or field.attname.endswith("_id"))
        return (
            formats.digits_text(str(value), language=language)
            if is_id
            else formats.number_text(value, language=language)
        )
    if isinstance(written, SafeString):  # markup
        return written
    return "\n".join(formats.ltr_text(line, language=language) for line in str(written).split("\n"))
