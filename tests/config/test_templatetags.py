"""What the template filters write in either language."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.template import Context, Template
from django.test import RequestFactory
from django.utils import translation

NOON = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)


def render(source: str, language: str, **context: Any) -> str:
    with translation.override(language):
        return Template("{% load hamiran %}" + source).render(Context(context))


def test_an_amount_names_its_unit() -> None:
    assert render("{{ micro|toman }}", "en", micro=12_345_000_000) == "1,234.5 Toman"
    assert render("{{ micro|toman }}", "fa", micro=12_345_000_000).startswith("۱٬۲۳۴٫۵ ")


def test_an_amount_too_small_for_two_decimals_is_not_shown_as_free() -> None:
    assert render("{{ micro|toman }}", "en", micro=42_100) == "0.0042 Toman"


def test_what_came_in_has_a_plus_and_signs_stay_before_their_figure() -> None:
    assert render("{{ micro|toman_change }}", "en", micro=10_000_000) == "+1 Toman"
    assert render("{{ micro|toman_change }}", "en", micro=-10_000_000) == "-1 Toman"
    assert render("{{ micro|toman_change }}", "fa", micro=10_000_000) == "\u2066+۱\u2069 تومان"


def test_what_is_not_there_is_a_dash() -> None:
    for name in ("toman", "number", "date_text", "datetime_text"):
        assert render(f"{{{{ nothing|{name} }}}}", "en", nothing=None) == "—"


def test_numbers_and_dates_follow_the_language() -> None:
    source = "{{ count|number }} {{ at|datetime_text }} {{ at|date_text }} {{ code|digits }}"
    values = {"count": 1234, "at": NOON, "code": "A-17"}
    assert render(source, "en", **values) == "1,234 23 Nov 2026, 12:00 23 Nov 2026 A-17"
    assert render(source, "fa", **values) == "۱٬۲۳۴ ۲ آذر ۱۴۰۵، ۱۲:۰۰ ۲ آذر ۱۴۰۵ A-۱۷"


def test_a_mobile_number_stays_left_to_right() -> None:
    assert render("{{ m|mobile_text }}", "en", m="+989121234567") == '<bdi dir="ltr">09121234567</bdi>'
    assert render("{{ m|mobile_text }}", "fa", m="+989121234567") == '<bdi dir="ltr">۰۹۱۲۱۲۳۴۵۶۷</bdi>'


@pytest.mark.parametrize(
    ("path", "is_current"), [("/keys/", True), ("/keys/7/revoke/", True), ("/wallet/", False)]
)
def test_the_navigation_marks_where_one_is(path: str, is_current: bool) -> None:
    link = render('{% nav_link "keys:list" "Keys" %}', "en", request=RequestFactory().get(path))
    assert ('aria-current="page"' in link) == is_current


def test_a_label_of_the_navigation_is_escaped() -> None:
    link = render('{% nav_link "keys:list" label %}', "en", request=RequestFactory().get("/"), label="<b>")
    assert "&lt;b&gt;" in link


def test_a_table_is_named_by_a_heading_or_by_a_text() -> None:
    rows = "<tbody><tr><td>{{ it }}</td></tr></tbody>"
    by_id = render('{% table labelledby="ended" %}' + rows + "{% endtable %}", "en", it="<b>")
    assert 'tabindex="0" role="group"\n  aria-labelledby="ended">' in by_id
    assert '<table class="table"><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>' in by_id
    by_text = render(
        '{% table label=name modifier="table-scroll--tall" %}{% endtable %}', "en", name="“A” & B"
    )
    assert 'class="table-scroll table-scroll--tall"' in by_text
    assert 'aria-label="“A” &amp; B"' in by_text


def test_an_empty_place_has_a_heading_where_there_is_more_to_say() -> None:
    assert "<h2>" not in render("{% empty_state %}<p>Nothing yet.</p>{% endempty_state %}", "en")
    shown = render(
        "{% empty_state heading=name %}<p>{{ it }}</p>{% endempty_state %}", "en", name="<i>", it="<b>"
    )
    assert "<h2>&lt;i&gt;</h2>" in shown
    assert "<p>&lt;b&gt;</p>" in shown
