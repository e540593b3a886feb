"""Pages for a person's own keys; the page that answers a creation is the only one that shows a secret."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods

from accounts.formats import number_text
from keys import lifecycle
from keys.forms import CreateKeyForm


@require_GET
@login_required
def list_keys(request: HttpRequest) -> HttpResponse:
    keys = lifecycle.listing(_user_id(request))
    working = [key for key in keys if key.revoked_at is None]
    return render(
        request,
        "keys/list.html",
        {
            "working": working,
            "revoked": [key for key in keys if key.revoked_at is not None],
            "is_full": len(working) >= lifecycle.MAX_ACTIVE_KEYS,
            "limit": lifecycle.MAX_ACTIVE_KEYS,
        },
    )


@require_http_methods(["GET", "POST"])
@login_required
@cache_control(no_store=True)
@sensitive_variables("created")
def create_key(request: HttpRequest) -> HttpResponse:
    """The answer to the POST shows the secret; nothing that could be loaded again does."""
    form = CreateKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            created = lifecycle.create(
                user_id=_user_id(request),
                name=form.cleaned_data["name"],
                creation_token=form.cleaned_data["token"],
            )
        except lifecycle.AlreadyCreated:
            messages.warning(
                request,
                _(
                    "This key was created a moment ago, and a secret is shown only once. "
                    "If you did not copy it, revoke the key and create another."
                ),
            )
            return redirect("keys:list")
        except lifecycle.TooManyKeys:
            form.add_error(
                None,
                _(
                    "You have %(limit)s active keys, and more are not possible. Revoke one that you no longer use."
                )
                % {"limit": number_text(lifecycle.MAX_ACTIVE_KEYS, language=get_language())},
            )
        else:
            return render(
                request,
                "keys/created.html",
                {
                    "name": form.cleaned_data["name"],
                    "secret": created.secret,
                    "api_url": f"{settings.BASE_URL}/v1",
                },
            )
    return render(request, "keys/create.html", {"form": form}, status=400 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@login_required
def revoke_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Asks first (GET), then revokes (POST)."""
    try:
        if request.method == "POST":
            lifecycle.revoke(user_id=_user_id(request), key_id=key_id)
        else:
            key = lifecycle.get(user_id=_user_id(request), key_id=key_id)
    except lifecycle.UnknownKey:
        raise Http404 from None
    if request.method == "POST":
        messages.success(request, _("The key is revoked. It stops working everywhere within seconds."))
        return redirect("keys:list")
    if key.revoked_at is not None:
        return redirect("keys:list")
    return render(request, "keys/revoke.html", {"key": key})


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None, "login_required stands before every view here"
    return int(request.user.pk)
