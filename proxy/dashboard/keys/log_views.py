"""The page of what was done to an account's keys: when, to which one, what changed, by whom and from where."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import sessions
from accounts.shared import formats, paging, signed_in
from keys import changes
from keys.models import KeyChange
from keys.project_models import Member
from proxy.dashboard.capped_form import PERIODS
from wallet import wording
from wallet.money import micro_from_toman


@dataclass(frozen=True, slots=True)
class Difference:
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Row:
    change: KeyChange
    hint: str
    differences: list[Difference]
    is_here: bool  # done in this very browser


@require_safe
@login_required
@never_cache
def changes_page(request: HttpRequest) -> HttpResponse:
    before = paging.cursor(request)
    page = changes.page(user_id=signed_in.user_id(request), before=before)
    here = sessions.id_of(request.session.session_key)
    rows = [_row(change, here) for change in page.rows]
    return render(
        request,
        "keys/changes.html",
        {"rows": rows, "older": page.older, "is_first": before is None, "tab": "changes"},
    )


def _row(change: KeyChange, here: str) -> Row:
    prefix = "hm-admin-" if change.subject == KeyChange.Subject.ADMIN_KEY else "hm-"
    return Row(
        change,
        f"{prefix}…{change.last_four}" if change.last_four else "",
        [_difference(field, *pair) for field, pair in change.changes.items()],
        bool(here) and change.session == here,
    )


def _difference(field: str, before: Any, after: Any) -> Difference:
    label: Promise | str
    label, write = FIELDS.get(field, (field, str))
    old, new = (_nothing() if value in (None, []) else write(value) for value in (before, after))
    return Difference(str(label), old, new)


def _nothing() -> str:
    return pgettext("value of a setting", "none")


def _number(value: int) -> str:
    return formats.number_text(value, language=get_language())


def _moment(value: str) -> str:
    return formats.datetime_text(datetime.fromisoformat(value), language=get_language())


def _toman(value: int) -> str:
    return wording.toman(micro_from_toman(value))


def _list(values: list[str]) -> str:
    return pgettext("between things of a list", ", ").join(values)


def _id(value: int) -> str:
    return formats.digits_text(str(value), language=get_language())


def _period(value: str) -> str:
    return str(dict(PERIODS)[value])


def _member(value: str) -> str:
    """A number with its role, as `keys.projects.people` notes them."""
    mobile, _space, role = value.partition(" ")
    local = formats.digits_text("0" + mobile.removeprefix("+98"), language=get_language())
    return f"\u2066{local}\u2069 ({Member.Role(role.strip('()')).label})"


# How a field is called, and how its values are written.
FIELDS: dict[str, tuple[Promise, Callable[[Any], str]]] = {
    "name": (gettext_lazy("Name"), str),
    "expires_at": (gettext_lazy("Expires"), _moment),
    "allowed_models": (gettext_lazy("Models"), _list),
    "allowed_networks": (gettext_lazy("Networks"), _list),
    "rpm": (gettext_lazy("Requests per minute"), _number),
    "tpm": (gettext_lazy("Tokens per minute"), _number),
    "concurrency": (gettext_lazy("Requests at once"), _number),
    "cap_toman": (gettext_lazy("Spending cap"), _toman),
    "cap_period": (gettext_lazy("Cap period"), _period),
    "member": (gettext_lazy("Member"), _member),
    "scopes": (gettext_lazy("What it may do"), _list),
    "replaces": (gettext_lazy("Replaces"), _id),
    "replaced_by": (gettext_lazy("Replaced by"), _id),
}
