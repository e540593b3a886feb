"""What the parts of a person's page are made of: rows of texts in the reader's language, and links into the admin."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import get_language

from accounts.shared import formats

SHOWN = 10  # rows of a part; its list has all


@dataclass(frozen=True, slots=True)
class Row:
    """`url`: where its first cell leads."""

    cells: tuple[str, ...]
    url: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """`all_url`: the list of all rows, where there is one."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    all_url: str = ""


def moment_text(moment: datetime | None) -> str:
    return "-" if moment is None else formats.datetime_text(moment, language=get_language())


def number_text(number: int) -> str:
    return formats.number_text(number, language=get_language())


def list_url(name: str, **wanted: object) -> str:
    return f"{reverse(f'admin:{name}_changelist')}?{urlencode(wanted)}"


def row_url(name: str, pk: object) -> str:
    return reverse(f"admin:{name}_change", args=[pk])
