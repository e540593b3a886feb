"""What a person's page is made of: parts, each with its right, and rows of texts in the reader's language."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import get_language

from accounts.models import User
from accounts.shared import formats

SHOWN = 10  # rows of a part; its list has all


@dataclass(frozen=True, slots=True)
class Row:
    """`url`: where its first cell leads."""

    cells: tuple[str, ...]
    url: str = ""


Rows = Callable[[User], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Section:
    """A part as it is shown of one person. `all_url`: the list of all rows, where there is one."""

    name: str
    title: Promise
    columns: tuple[Promise, ...]
    rows: tuple[Row, ...]
    all_url: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A kind of rows, and the right to see them."""

    name: str
    title: Promise
    columns: tuple[Promise, ...]
    permission: str
    all_url: Callable[[User], str]
    rows: Rows

    def of(self, user: User) -> Section:
        return Section(self.name, self.title, self.columns, tuple(self.rows(user)), self.all_url(user))


def no_list(_user: User) -> str:
    return ""


def row(*cells: str, url: str = "") -> Row:
    return Row(cells, url)


def moment_text(moment: datetime | None) -> str:
    return "-" if moment is None else formats.datetime_text(moment, language=get_language())


def number_text(number: int) -> str:
    return formats.number_text(number, language=get_language())


def list_url(name: str, **wanted: object) -> str:
    return f"{reverse(f'admin:{name}_changelist')}?{urlencode(wanted)}"


def row_url(name: str, pk: object) -> str:
    return reverse(f"admin:{name}_change", args=[pk])
