"""The colours of a page: what the visitor chose, else what the system has."""

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

COOKIE_NAME = "hamiran_theme"
THEMES: dict[str, Promise] = {"system": _("Like the system"), "light": _("Light"), "dark": _("Dark")}


def chosen(request: HttpRequest) -> str:
    theme = request.COOKIES.get(COOKIE_NAME, "")
    return theme if theme in THEMES else "system"


def after(theme: str) -> str:
    """The one that a single button leads to from `theme`, round and round."""
    names = list(THEMES)
    return names[(names.index(theme) + 1) % len(names)]
