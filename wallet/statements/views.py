"""A person's statement: a page with filters, and all of it as CSV."""

from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.shared import replica, signed_in
from accounts.shared.downloads import csv_response
from accounts.shared.paging import cursor
from wallet.ledger.models import JournalEntry
from wallet.statements import lines as statements
from wallet.statements.form import StatementForm


@require_GET
@login_required
@never_cache
@replica.read
def statement(request: HttpRequest) -> HttpResponse:
    form = StatementForm(request.GET)
    if not form.is_valid():
        return _page(request, form, statements.StatementPage(rows=[], older=None), status=400)
    page = statements.page(user_id=signed_in.user_id(request), before=cursor(request), wanted=form.wanted())
    return _page(request, form, page)


@require_GET
@login_required
@never_cache
def download(request: HttpRequest) -> HttpResponseBase:
    """The filtered statement as a CSV file of any length."""
    form = StatementForm(request.GET)
    if not form.is_valid():
        return _page(request, form, statements.StatementPage(rows=[], older=None), status=400)
    chunks = statements.csv_chunks(
        user_id=signed_in.user_id(request), wanted=form.wanted(), wording=_wording()
    )
    return csv_response(chunks, filename=f"statement-{timezone.localdate()}.csv")


def _wording() -> statements.CSVWording:
    return statements.CSVWording(
        header=(
            _("Time"),
            _("Jalali date"),
            _("What for"),
            _("Reference"),
            _("Amount (Toman)"),
            _("Balance after (Toman)"),
        ),
        kinds={kind.value: str(kind.label) for kind in JournalEntry.Kind},
    )


def _page(
    request: HttpRequest, form: StatementForm, page: statements.StatementPage, *, status: int = 200
) -> HttpResponse:
    chosen = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
    context = {
        "form": form,
        "page": page,
        "is_first": cursor(request) is None,
        "is_filtered": bool(chosen),
        "query": urlencode(chosen),
    }
    return render(request, "wallet/statement.html", context, status=status)
