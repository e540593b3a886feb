"""The settings page, and the ends of sessions."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts import sessions
from accounts.channels import overview
from accounts.shared import signed_in
from accounts.shared.formats import number_text


@require_safe
@login_required
@never_cache
def settings_page(request: HttpRequest) -> HttpResponse:
    context = {
        "sessions": _sessions(request),
        "channels": overview.channels(user_id=signed_in.user_id(request)),
    }
    return render(request, "accounts/settings.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def end_session(request: HttpRequest, session_id: str) -> HttpResponse:
    """Asks first; ends one other session."""
    if request.method == "POST":
        try:
            sessions.end(user_id=signed_in.user_id(request), session_id=session_id)
        except sessions.UnknownSession:
            messages.info(request, _("That browser was already signed out."))
        else:
            messages.success(request, _("That browser has been signed out."))
        return redirect("accounts:settings")
    found = [each for each in _sessions(request) if each.id == session_id and not each.is_current]
    if not found:
        raise Http404
    return render(request, "accounts/end_sessions.html", {"session": found[0]})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def end_others(request: HttpRequest) -> HttpResponse:
    """Asks first; ends all sessions but this one."""
    if request.method == "POST":
        count = sessions.end_others(
            user_id=signed_in.user_id(request), current_key=request.session.session_key
        )
        text = ngettext(
            "%(count)s other browser has been signed out.",
            "%(count)s other browsers have been signed out.",
            count,
        )
        messages.success(request, text % {"count": number_text(count, language=get_language())})
        return redirect("accounts:settings")
    return render(request, "accounts/end_sessions.html")


def _sessions(request: HttpRequest) -> list[sessions.ListedSession]:
    return sessions.listing(user_id=signed_in.user_id(request), current_key=request.session.session_key)
