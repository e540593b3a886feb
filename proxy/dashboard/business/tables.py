"""Tables of the admin's front page: for people with a link behind each figure, and the same as CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.shared import formats
from accounts.shared.downloads import BYTE_ORDER_MARK, csv_bytes, harmless
from wallet import wording
from wallet.money import toman_figure


@dataclass(frozen=True, slots=True)
class Cell:
    """`raw` is what a program reads; `url` leads to the rows behind a figure.

    Written here and not by a template: a page has hundreds of them, and a template's loop takes ten times as long.
    """

    text: str
    raw: str
    url: str = ""
    is_bad: bool = False

    @property
    def td(self) -> SafeString:
        return format_html('<td class="bad">{}</td>' if self.is_bad else "<td>{}</td>", self._content)

    @property
    def th(self) -> SafeString:
        return format_html('<th scope="row">{}</th>', self._content)

    @property
    def _content(self) -> SafeString:
        text = format_html("<bdi>{}</bdi>", self.text)
        return format_html('<a href="{}">{}</a>', self.url, text) if self.url else text


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

    def csv(self) -> Iterator[bytes]:
        yield BYTE_ORDER_MARK.encode() + csv_bytes([self.columns])
        for row in self.rows:
            yield csv_bytes([[cell.raw for cell in row]])


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
    app, _dot, name = model.partition(".")
    query = urlencode({key: str(value) for key, value in filters.items()})
    return f"{reverse(f'admin:{app}_{name}_changelist')}?{query}"
