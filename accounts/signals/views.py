"""Pages for a person's own webhooks; only the answer to a creation or a rotation shows a secret."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.shared import paging, signed_in
from accounts.shared.formats import number_text
from accounts.signals import backoff, deliveries, endpoints
from accounts.signals.endpoints import MAX_ENDPOINTS, NewSecret
from accounts.signals.events import Event
from accounts.signals.forms import EndpointForm
from accounts.signals.models import WebhookDelivery, WebhookEndpoint


@require_safe
@login_required
@never_cache
def list_page(request: HttpRequest) -> HttpResponse:
    own = endpoints.listing(user_id=signed_in.user_id(request))
    context = {"endpoints": own, "is_full": len(own) >= MAX_ENDPOINTS, "limit": MAX_ENDPOINTS}
    return render(request, "accounts/webhooks/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@cache_control(no_store=True)
@sensitive_variables("made")
def add(request: HttpRequest) -> HttpResponse:
    """The answer to the POST shows the secret; nothing that could be loaded again does."""
    form = EndpointForm(request.POST or None, initial={"events": list(Event.values)})
    if request.method == "POST" and form.is_valid():
        try:
            made = endpoints.create(user_id=signed_in.user_id(request), **form.wanted)
        except endpoints.AddressTaken:
            form.add_error("address", _("You have a webhook with this address already."))
        except endpoints.TooManyEndpoints:
            limit = number_text(MAX_ENDPOINTS, language=get_language())
            form.add_error(
                None, _("You have %(limit)s webhooks, which is the most you can have.") % {"limit": limit}
            )
        else:
            return _secret_page(request, made, address=form.wanted["address"])
    return render(request, "accounts/webhooks/add.html", {"form": form}, status=400 if form.errors else 200)


@require_safe
@login_required
@never_cache
def detail(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    endpoint, before = _own(request, endpoint_id), paging.cursor(request)
    page = deliveries.page(user_id=signed_in.user_id(request), endpoint_id=endpoint_id, before=before)
    context = {
        "endpoint": endpoint,
        "events": [(name, label) for name, label in Event.choices if name in endpoint.events],
        "page": page,
        "is_first": before is None,
        "hours": backoff.WINDOW.days * 24,
    }
    return render(request, "accounts/webhooks/detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def edit(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    endpoint = _own(request, endpoint_id)
    form = EndpointForm(
        request.POST or None, initial={"address": endpoint.address, "events": endpoint.events}
    )
    if request.method == "POST" and form.is_valid():
        try:
            endpoints.change(user_id=signed_in.user_id(request), endpoint_id=endpoint_id, **form.wanted)
        except endpoints.AddressTaken:
            form.add_error("address", _("You have a webhook with this address already."))
        except endpoints.UnknownEndpoint:  # deleted in this moment
            raise Http404 from None
        else:
            messages.success(request, _("Saved."))
            return redirect("accounts:webhook", endpoint_id)
    context = {"form": form, "endpoint": endpoint}
    return render(request, "accounts/webhooks/edit.html", context, status=400 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@cache_control(no_store=True)
@sensitive_variables("made")
def rotate(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Asks first (GET); the answer to the POST shows the new secret."""
    endpoint = _own(request, endpoint_id)
    if request.method == "POST":
        try:
            made = endpoints.rotate_secret(
                user_id=signed_in.user_id(request),
                endpoint_id=endpoint_id,
                version=request.POST.get("version", ""),
            )
        except endpoints.AlreadyRotated:
            text = _(
                "The secret was replaced a moment ago, and the new one is shown only once. If you did not copy it, "
                "replace it again."
            )
            messages.warning(request, text)
            return redirect("accounts:webhook", endpoint_id)
        except endpoints.UnknownEndpoint:  # deleted in this moment
            raise Http404 from None
        return _secret_page(request, made, address=endpoint.address, is_rotation=True)
    context = {"endpoint": endpoint, "version": endpoints.secret_version(endpoint)}
    return render(request, "accounts/webhooks/rotate.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def delete(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Asks first (GET), then deletes (POST); a second click finds it gone and is content."""
    if request.method == "POST":
        try:
            endpoints.delete(user_id=signed_in.user_id(request), endpoint_id=endpoint_id)
        except endpoints.UnknownEndpoint:
            messages.info(request, _("That webhook was already deleted."))
        else:
            messages.success(request, _("The webhook is deleted."))
        return redirect("accounts:webhooks")
    return render(request, "accounts/webhooks/delete.html", {"endpoint": _own(request, endpoint_id)})


@require_POST
@login_required
def pause(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    return _done(request, endpoint_id, endpoints.pause, _("The webhook is paused. Its events wait."))


@require_POST
@login_required
def resume(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    return _done(
        request, endpoint_id, endpoints.resume, _("The webhook is active. What waited is being sent.")
    )


@require_POST
@login_required
def send_test(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    said = _("A test is on its way. Load this page again in a few seconds to see whether it arrived.")
    return _done(request, endpoint_id, endpoints.send_test, said)


@require_safe
@login_required
@never_cache
def delivery_page(request: HttpRequest, endpoint_id: int, delivery_id: int) -> HttpResponse:
    delivery = _delivery(request, endpoint_id, delivery_id)
    context = {"delivery": delivery, "endpoint": delivery.endpoint, "body": deliveries.body(delivery)}
    return render(request, "accounts/webhooks/delivery.html", context)


@require_POST
@login_required
def replay(request: HttpRequest, endpoint_id: int, delivery_id: int) -> HttpResponse:
    """Sends one event again, or with `since` all from this one on."""
    delivery = _delivery(request, endpoint_id, delivery_id)
    whose = {"user_id": signed_in.user_id(request), "endpoint_id": endpoint_id}
    if "since" not in request.POST:
        deliveries.replay(**whose, delivery_id=delivery_id)
        messages.success(request, _("The event is being sent again."))
        return redirect("accounts:webhook_delivery", endpoint_id, delivery_id)
    count = deliveries.replay_since(**whose, since=delivery.event.created_at)
    text = ngettext(
        "%(count)s event is being sent again.", "%(count)s events are being sent again, in order.", count
    )
    messages.success(request, text % {"count": number_text(count, language=get_language())})
    return redirect("accounts:webhook", endpoint_id)


@sensitive_variables("made")
def _secret_page(request: HttpRequest, made: NewSecret, **shown: Any) -> HttpResponse:
    context = {"secret": made.secret, "endpoint_id": made.endpoint_id, **shown}
    return render(request, "accounts/webhooks/secret.html", context)


def _done(request: HttpRequest, endpoint_id: int, verb: Callable[..., None], said: str) -> HttpResponse:
    try:
        verb(user_id=signed_in.user_id(request), endpoint_id=endpoint_id)
    except endpoints.UnknownEndpoint:
        raise Http404 from None
    messages.success(request, said)
    return redirect("accounts:webhook", endpoint_id)


def _own(request: HttpRequest, endpoint_id: int) -> WebhookEndpoint:
    try:
        return endpoints.get(user_id=signed_in.user_id(request), endpoint_id=endpoint_id)
    except endpoints.UnknownEndpoint:
        raise Http404 from None


def _delivery(request: HttpRequest, endpoint_id: int, delivery_id: int) -> WebhookDelivery:
    try:
        return deliveries.get(
            user_id=signed_in.user_id(request), endpoint_id=endpoint_id, delivery_id=delivery_id
        )
    except deliveries.UnknownDelivery:
        raise Http404 from None
