"""Pages for a person's admin keys; only the answer to a creation shows a secret."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from accounts.shared import formats, signed_in
from keys import admin_keys, lifecycle, reading
from proxy.dashboard.keys.acting import person
from proxy.dashboard.keys.admin_forms import AdminKeyForm
from proxy.dashboard.keys.wording import no_new_keys_text


@require_safe
@login_required
@never_cache
def list_keys(request: HttpRequest) -> HttpResponse:
    listed = admin_keys.listing(signed_in.user_id(request))
    is_full = len(listed.working) >= admin_keys.MAX_ACTIVE
    return render(
        request,
        "keys/admin_list.html",
        {"listed": listed, "is_full": is_full, "limit": admin_keys.MAX_ACTIVE, "tab": "admin"},
    )


@require_http_methods(["GET", "POST"])
@login_required
@cache_control(no_store=True)
@sensitive_variables("created")
def create_key(request: HttpRequest) -> HttpResponse:
    """The answer to the POST shows the secret; nothing that could be loaded again does."""
    form = AdminKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            created = admin_keys.create(
                user_id=signed_in.user_id(request),
                name=form.cleaned_data["name"],
                scopes=form.cleaned_data["scopes"],
                allowed_networks=form.cleaned_data["allowed_networks"],
                expires_at=form.expires_at(),
                creation_token=form.cleaned_data["token"],
                by=person(request),
            )
        except lifecycle.AlreadyCreated:
            messages.warning(
                request,
                _(
                    "This key was created a moment ago, and its secret is shown only once. If you did not copy "
                    "it, revoke the key and create another."
                ),
            )
            return redirect("keys:admin_list")
        except lifecycle.TooManyToday:
            form.add_error(None, _("You have created many keys today. Try again tomorrow."))
        except lifecycle.NoNewKeys as error:
            form.add_error(None, no_new_keys_text(error.until))
        except lifecycle.TooManyKeys:
            limit = formats.number_text(admin_keys.MAX_ACTIVE, language=get_language())
            form.add_error(
                None,
                _(
                    "You have %(limit)s active admin keys, which is the most you can have. Revoke one you no "
                    "longer use."
                )
                % {"limit": limit},
            )
        else:
            shown = {
                "secret": created.secret,
                "name": form.cleaned_data["name"],
                "api_url": f"{settings.BASE_URL}/v1",
            }
            return render(request, "keys/admin_created.html", shown)
    context = {"form": form, "address": request.META.get("REMOTE_ADDR", "")}
    return render(request, "keys/admin_create.html", context, status=400 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def revoke_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Asks first (GET), then revokes (POST)."""
    user_id = signed_in.user_id(request)
    try:
        if request.method == "POST":
            admin_keys.revoke(user_id=user_id, key_id=key_id, by=person(request))
            messages.success(
                request, _("The admin key is revoked. It stops working everywhere within seconds.")
            )
            return redirect("keys:admin_list")
        key = admin_keys.get_working(user_id=user_id, key_id=key_id)
    except reading.UnknownKey:
        raise Http404 from None
    return render(request, "keys/admin_revoke.html", {"key": key})
