"""The settings' part about channels: which ones notices come by, and the chats with bots."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.channel_models import ChannelName
from accounts.channels import bots, chats, notices, overview
from accounts.shared import signed_in


@require_POST
@login_required
def choose(request: HttpRequest) -> HttpResponse:
    user_id = signed_in.user_id(request)
    ready = {shown.name for shown in overview.channels(user_id=user_id) if shown.is_ready}
    wanted = ready & set(request.POST.getlist("channel"))
    if wanted:
        notices.choose(user_id=user_id, channels=[ChannelName(name) for name in wanted])
        messages.success(request, _("Saved."))
    else:
        messages.error(request, _("Choose at least one way by which messages reach you."))
    return _back()


@require_POST
@login_required
@never_cache
def connect(request: HttpRequest, channel: str) -> HttpResponse:
    """Shows the link that opens the bot; whoever presses Start there first is connected."""
    name = _bot(channel)
    username = bots.username(name)
    if not username:
        messages.error(
            request,
            _("%(messenger)s cannot be reached right now. Please try again later.")
            % {"messenger": name.label},
        )
        return _back()
    token = chats.invite(user_id=signed_in.user_id(request), channel=name, language=get_language() or "")
    context = {
        "messenger": name,
        "link": bots.link(name, username=username, token=token),
        "minutes": int(chats.LIFETIME.total_seconds()) // 60,
    }
    return render(request, "accounts/connect_channel.html", context)


@require_safe
@login_required
@never_cache
def connected(request: HttpRequest, channel: str) -> HttpResponse:
    """What the page with the link asks every few seconds: leads back to the settings once the chat is there."""
    name = _bot(channel)
    shown = overview.channels(user_id=signed_in.user_id(request))
    if not any(each.name == name and each.is_ready for each in shown):
        return HttpResponse(status=204)
    messages.success(request, _("%(messenger)s is connected.") % {"messenger": name.label})
    return HttpResponse(status=204, headers={"HX-Redirect": _settings()})


@require_POST
@login_required
def disconnect(request: HttpRequest, channel: str) -> HttpResponse:
    name = _bot(channel)
    chats.disconnect(user_id=signed_in.user_id(request), channel=name)
    messages.success(request, _("%(messenger)s is disconnected.") % {"messenger": name.label})
    return _back()


def _bot(channel: str) -> ChannelName:
    found = [name for name in bots.configured() if name == channel]
    if not found:
        raise Http404
    return found[0]


def _back() -> HttpResponse:
    return redirect(_settings())


def _settings() -> str:
    return f"{reverse('accounts:settings')}#notices"
