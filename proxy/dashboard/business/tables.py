"""Tables of the admin's front page: for people with a link behind each figure, and the same as CSV."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from typing import Any, overload
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.shared import formats
from accounts.shared.downloads import BYTE_ORDER_MARK, csv_bytes, harmless
from wallet import wording
from wallet.money import toman_figure


@dataclass(frozen=True, slots=True)
class Cell:
    """`raw` is what a program reads; `url` leads to the rows behind a figure."""

    text: str
    raw: str
    url: str = ""
    is_bad: bool = False

    @property
    def html(self) -> str:
        text = f"<bdi>{escape(self.text)}</bdi>"
        return f'<a href="{escape(self.url)}">{text}</a>' if self.url else text


@dataclass(frozen=True, slots=True)
class Table:
    """`name` is its address; each row begins with what it is about. `more`: how many rows there are beyond these."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default=())
    empty: str = ""
    more: int = 0

    @property
    def body(self) -> SafeString:
        """Not written by a template: a page has hundreds of cells, and its loop takes ten times as long."""
        return SafeString("".join(map(_tr, self.rows)))

    def csv(self) -> Iterator[bytes]:
        yield BYTE_ORDER_MARK.encode() + csv_bytes([self.columns])
        for row in self.rows:
            yield csv_bytes([[cell.raw for cell in row]])


@dataclass(frozen=True, slots=True)
class Rows(Sequence[Sequence[Cell]]):
    """One of each, made when it is asked for: a page shows some of them."""

    of: Sequence[Any]
    make: Callable[[Any], Sequence[Cell]]

    def __len__(self) -> int:
        return len(self.of)

    @overload
    def __getitem__(self, number: int) -> Sequence[Cell]: ...
    @overload
    def __getitem__(self, number: slice) -> "Rows": ...
    def __getitem__(self, number: int | slice) -> "Sequence[Cell] | Rows":
        return Rows(self.of[number], self.make) if isinstance(number, slice) else self.make(self.of[number])


def _tr(row: Sequence[Cell]) -> str:
    first, *others = row
    cells = (
        f'<td class="bad">{cell.html}</td>' if cell.is_bad else f"<td>{cell.html}</td>" for cell in others
    )
    return f'<tr><th scope="row">{first.html}</th>{"".join(cells)}</tr>\n'


UNKNOWN = Cell("—", "")


def words(said: str, url: str = "") -> Cell:
    return Cell(said, harmless(said), url)


def count(number: int, url: str = "", *, is_bad: bool = False) -> Cell:
    text = formats.number_text(number, language=get_language())
    return Cell(text, str(number), url if number else "", is_bad and number > 0)


def money(micro: int | None, url: str = "") -> Cell:
    """In Toman, which the column or the row says."""
    if micro is None:
        return Cell(_("unknown"), "", url)
    text = wording.toman_without_unit(micro)
    return Cell(text, toman_figure(micro), url if micro else "", is_bad=micro < 0)


def percent(basis_points: int | None, url: str = "") -> Cell:
    if basis_points is None:
        return UNKNOWN
    text = formats.percent_text(basis_points, language=get_language())
    return Cell(text, formats.percent_figure(basis_points), url, is_bad=basis_points < 0)


def rows_of(model: str, **filters: object) -> str:
    """The address of a list in the admin: `rows_of("wallet.topup", status__exact="review")`."""
    query = urlencode({key: str(value) for key, value in filters.items()})
    return f"{_list_of(model)}?{query}"


@lru_cache(maxsize=100)
def _list_of(model: str) -> str:
    app, _dot, name = model.partition(".")
    return reverse(f"admin:{app}_{name}_changelist")
