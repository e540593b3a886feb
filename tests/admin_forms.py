"""Forms of the admin, as a browser would send them back."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from django.test import Client


class Fields(HTMLParser):
    """What the change form of a page sends if nobody touches it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self._in_form = False
        self._select: str | None = None
        self._text: tuple[str, list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._in_form = (given.get("id") or "").endswith("_form")
        name = given.get("name")
        if not self._in_form:
            return
        if tag == "option" and self._select and "selected" in given:
            self._send(self._select, given.get("value"))
        elif tag == "select":
            self._select = name
        elif tag == "textarea" and name:
            self._text = (name, [])
        elif tag == "input" and name:
            kind = given.get("type")
            if kind in {"checkbox", "radio"} and "checked" in given:
                self._send(name, given.get("value") or "on")
            elif kind not in {"checkbox", "radio", "submit", "file"}:
                self._send(name, given.get("value"))

    def handle_data(self, data: str) -> None:
        if self._text:
            self._text[1].append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._in_form = False
        elif tag == "select":
            self._select = None
        elif tag == "textarea" and self._text:
            name, text = self._text
            self._send(name, "".join(text).strip())
            self._text = None

    def _send(self, name: str, value: str | None) -> None:
        self.sent.setdefault(name, []).append(value or "")


def fill_in(browser: Client, path: str, changes: Mapping[str, Any]) -> Any:
    """Opens a form, changes these of its fields (None: takes the tick from one) and sends it; it has to be accepted."""
    page = browser.get(path)
    assert page.status_code == 200, path
    fields = Fields()
    fields.feed(page.content.decode())
    sent = {name: value for name, value in {**fields.sent, **changes}.items() if value is not None}
    answer = browser.post(path, sent)
    assert answer.status_code == 302, re.findall(
        r'class="errorlist.*?</ul>', answer.content.decode(), re.DOTALL
    )
    return answer


def act(browser: Client, path: str, action: str, *rows: Any, **more: str) -> Any:
    """Chooses rows of a list and what is done with them."""
    chosen = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    answer = browser.post(path, chosen)
    assert answer.status_code in {200, 302}, answer.status_code
    return answer
