"""What templates write for people: amounts, figures, dates, phone numbers, the links of the navigation."""

from datetime import datetime
from typing import Any

from django import template
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from accounts.shared import formats
from wallet import wording
from wallet.money import micro_from_rial

register = template.Library()
NOTHING = "—"


@register.filter
def toman(micro: int | None) -> str:
    """Micro-Rial as Toman with the unit: `1,234.5 Toman`."""
    return NOTHING if micro is None else wording.toman(micro)


@register.filter
def rial_as_toman(rial: int) -> str:
    """Whole Rial, as prices are stored, as Toman with the unit."""
    return toman(micro_from_rial(rial))


@register.filter
def toman_change(micro: int) -> str:
    """Likewise for what came or went, with its sign: `+1,234.5 Toman`."""
    return wording.toman_change(micro)


@register.filter
def number(value: int | None) -> str:
    return NOTHING if value is None else formats.number_text(value, language=get_language())


@register.filter
def figure(text: str) -> str:
    """A figure such as `2.5` with the digits and separators of the page."""
    return formats.figure_text(text, language=get_language())


@register.filter
def digits(value: object) -> str:
    """Any text with its digits in the script of the page, for what is not a quantity."""
    return formats.digits_text(str(value), language=get_language())


@register.filter
def date_text(moment: datetime | None) -> str:
    return NOTHING if moment is None else formats.date_text(moment, language=get_language())


@register.filter
def datetime_text(moment: datetime | None) -> str:
    return NOTHING if moment is None else formats.datetime_text(moment, language=get_language())


@register.filter
def both_dates(moment: datetime) -> str:
    """The day by the page's calendar, and by the other one in brackets."""
    languages = ("fa", "en") if formats.is_persian(get_language()) else ("en", "fa")
    first, second = (formats.date_text(moment, language=language) for language in languages)
    return f"{first} (\u2068{second}\u2069)"


@register.filter
def percent(basis_points: int) -> str:
    """Hundredths of a percent as a percentage: `9.5%`, `۹٫۵٪`."""
    return formats.percent_text(basis_points, language=get_language())


@register.filter
def mobile_text(mobile: str) -> SafeString:
    """An E.164 mobile number the way people here write it, `0912…`, kept left to right."""
    local = "0" + mobile.removeprefix("+98") if mobile.startswith("+98") else mobile
    return format_html('<bdi dir="ltr">{}</bdi>', formats.digits_text(local, language=get_language()))


@register.filter
def figures_cells(figures: Any) -> SafeString:
    """The cells below figures_heads.html, for rows of proxy.usage.figures.Figures.

    Not written by a template: a page has hundreds of these rows, and its loop takes several times as long.
    """
    counts = (
        figures.requests, figures.errors, figures.prompt_tokens, figures.cached_tokens, figures.completion_tokens
    )  # fmt: skip
    texts = [*map(number, counts), toman(figures.cost_micro)]
    return SafeString("\n".join(f'<td class="num">{text}</td>' for text in texts))


@register.simple_block_tag
def table(content: str, *, labelledby: str = "", label: str = "", modifier: str = "") -> SafeString:
    """A table that scrolls by itself where it is too wide; named by the id of a heading or by a text of its own."""
    shown = {"content": content, "labelledby": labelledby, "label": label, "modifier": modifier}
    return render_to_string("table.html", shown)


@register.simple_block_tag
def empty_state(content: str, *, heading: str = "") -> SafeString:
    """What stands where there is nothing to list: why, and what to do next."""
    return render_to_string("empty_state.html", {"content": content, "heading": heading})


@register.simple_tag(takes_context=True)
def nav_link(context: dict[str, Any], view_name: str, label: str) -> SafeString:
    """A link of the main navigation; it is marked as current on every page below its own address."""
    url = reverse(view_name)
    path = context["request"].path
    current = SafeString(' aria-current="page"') if path.startswith(url) else ""
    return format_html('<a class="nav__link" href="{}"{}>{}</a>', url, current, label)


@register.simple_tag
def page_url(changelist: ChangeList, number: int) -> str:
    """The address of that page of a list in the admin, its search and filters kept."""
    return changelist.get_query_string({PAGE_VAR: number})
