"""Pages for a person's own keys; only the answer to a creation or a replacement shows a secret."""

from datetime import datetime, time
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Tier
from accounts.shared import formats, paging, signed_in
from keys import allowances, lifecycle, reading
from keys.lifecycle import CreatedKey
from keys.projects import projects
from keys.projects.projects import ListedProject
from keys.reading import State
from proxy import own_keys
from proxy.dashboard.keys.acting import person
from proxy.dashboard.keys.forms import KeyForm, RotateForm
from proxy.dashboard.keys.wording import no_new_keys_text
from proxy.own_keys import OwnKey

SHOWN = 100  # of the keys that work, on one page


@require_safe
@login_required
@never_cache
def list_keys(request: HttpRequest) -> HttpResponse:
    keys = own_keys.listing(user_id=signed_in.user_id(request), month_start=month_start())
    before = paging.cursor(request)
    working = [each for each in keys if each.key.is_usable and (before is None or each.key.key_id < before)]
    return render(
        request,
        "keys/list.html",
        {
            "working": working[:SHOWN],
            "older": working[SHOWN - 1].key.key_id if len(working) > SHOWN else None,
            "is_first": before is None,
            "ended": [each for each in keys if not each.key.is_usable],
            "is_full": sum(each.key.state is State.WORKING for each in keys) >= lifecycle.MAX_ACTIVE_KEYS,
            "limit": lifecycle.MAX_ACTIVE_KEYS,
            "tab": "keys",
        },
    )


@require_safe
@login_required
@never_cache
def key_page(request: HttpRequest, key_id: int) -> HttpResponse:
    account_id, own = _account_and_key(request, key_id)
    relatives = {
        name: None if other is None else reading.get(user_id=account_id, key_id=other)
        for name, other in (("replaces", own.key.replaces), ("replaced_by", own.key.replaced_by))
    }
    is_own_account = account_id == signed_in.user_id(request)
    allowance = allowances.of_key(key_id=key_id)
    context = {"own": own, "key": own.key, "allowance": allowance, "is_own_account": is_own_account}
    return render(request, "keys/detail.html", {**context, **relatives})


@require_http_methods(["GET", "POST"])
@login_required
@cache_control(no_store=True)
@sensitive_variables("created")
def create_key(request: HttpRequest, project_id: int | None = None) -> HttpResponse:
    """The answer to the POST shows the secret; nothing that could be loaded again does."""
    user_id = signed_in.user_id(request)
    account_id, project = _account_for_new_key(user_id, project_id)
    form = KeyForm(request.POST or None, models=own_keys.models_to_allow())
    if request.method == "POST" and form.is_valid():
        try:
            created = own_keys.create(
                user_id=account_id,
                name=form.cleaned_data["name"],
                rules=form.wanted_rules(),
                cap_micro=form.cap_micro(),
                cap_period=form.wanted_period(),
                creation_token=form.cleaned_data["token"],
                by=person(request),
                project_id=project_id,
                created_by_id=None if account_id == user_id else user_id,
            )
        except lifecycle.AlreadyCreated:
            return _created_before(request, project_id)
        except lifecycle.UnknownProject:  # closed, or left, in this moment
            raise Http404 from None
        except lifecycle.TooManyToday:
            form.add_error(None, _many_today())
        except lifecycle.NoNewKeys as error:
            form.add_error(None, no_new_keys_text(error.until))
        except lifecycle.TooManyKeys:
            form.add_error(
                None,
                _(
                    "You have %(limit)s active keys, which is the most you can have. Revoke one you no longer use."
                )
                % {"limit": formats.number_text(lifecycle.MAX_ACTIVE_KEYS, language=get_language())},
            )
        else:
            return _created(request, created, name=form.cleaned_data["name"])
    return _form_page(request, "keys/create.html", form, account_id, project=project)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def edit_key(request: HttpRequest, key_id: int) -> HttpResponse:
    account_id, own = _account_and_key(request, key_id)
    if own.key.state is not State.WORKING:
        return redirect("keys:detail", key_id)
    form = KeyForm(
        request.POST or None,
        models=own_keys.models_to_allow(),
        name=own.key.name,
        rules=own.key.rules,
        cap=own.cap,
    )
    if request.method == "POST" and form.is_valid():
        try:
            own_keys.change(
                user_id=account_id,
                key_id=key_id,
                name=form.cleaned_data["name"],
                rules=form.wanted_rules(),
                cap_micro=form.cap_micro(),
                cap_period=form.wanted_period(),
                by=person(request),
            )
        except lifecycle.KeyEnded:  # in this moment
            return redirect("keys:detail", key_id)
        messages.success(request, _("Saved. The change takes effect everywhere within seconds."))
        return redirect("keys:detail", key_id)
    return _form_page(request, "keys/edit.html", form, account_id, own=own, key=own.key)


@require_http_methods(["GET", "POST"])
@login_required
@cache_control(no_store=True)
@sensitive_variables("created")
def rotate_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Asks for the grace (GET), then shows the new key's secret as the answer to the POST, and never again."""
    account_id, own = _account_and_key(request, key_id)
    form = RotateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            created = lifecycle.rotate(
                user_id=account_id,
                key_id=key_id,
                grace=form.wanted_grace(),
                creation_token=form.cleaned_data["token"],
                by=person(request),
            )
        except lifecycle.AlreadyCreated:
            return _created_before(request, own.key.project_id)
        except lifecycle.TooManyToday:
            form.add_error(None, _many_today())
        except lifecycle.NoNewKeys as error:
            form.add_error(None, no_new_keys_text(error.until))
        except lifecycle.KeyEnded:
            return redirect("keys:detail", key_id)
        except lifecycle.StillReplacing:
            form.add_error(
                None,
                _("The key this one replaced still works. Revoke it first, or wait until it ends."),
            )
        else:
            old = reading.get(user_id=account_id, key_id=key_id)
            return _created(request, created, name=own.key.name, old=old)
    if own.key.state is not State.WORKING:
        return redirect("keys:detail", key_id)
    return _form_page(request, "keys/rotate.html", form, account_id, key=own.key)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def revoke_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Asks first (GET), then revokes (POST)."""
    account_id, own = _account_and_key(request, key_id)
    if request.method == "POST":
        lifecycle.revoke(user_id=account_id, key_id=key_id, by=person(request))
        messages.success(request, _("The key is revoked. It stops working everywhere within seconds."))
        return _to_list(own.key.project_id)
    if not own.key.is_usable:
        return redirect("keys:detail", key_id)
    return render(request, "keys/revoke.html", {"own": own, "key": own.key})


@sensitive_variables("created")
def _created(request: HttpRequest, created: CreatedKey, **shown: Any) -> HttpResponse:
    context = {
        "secret": created.secret,
        "key_id": created.key_id,
        "api_url": f"{settings.BASE_URL}/v1",
        **shown,
    }
    return render(request, "keys/created.html", context)


def _created_before(request: HttpRequest, project_id: int | None) -> HttpResponse:
    messages.warning(
        request,
        _(
            "This key was created a moment ago, and its secret is shown only once. If you did not copy "
            "it, revoke the key and create another."
        ),
    )
    return _to_list(project_id)


def _to_list(project_id: int | None) -> HttpResponse:
    return redirect("keys:list") if project_id is None else redirect("projects:detail", project_id)


def _many_today() -> str:
    return _("You have created many keys today. Try again tomorrow.")


def _form_page(
    request: HttpRequest, template: str, form: Any, account_id: int, **context: Any
) -> HttpResponse:
    context |= {"form": form, "tier": _tier(account_id), "address": request.META.get("REMOTE_ADDR", "")}
    return render(request, template, context, status=400 if form.errors else 200)


def _account_and_key(request: HttpRequest, key_id: int) -> tuple[int, OwnKey]:
    """A key that whoever is signed in may change, and the account that it belongs to."""
    try:
        account_id = projects.account_of(user_id=signed_in.user_id(request), key_id=key_id)
        return account_id, own_keys.get(user_id=account_id, key_id=key_id, month_start=month_start())
    except reading.UnknownKey:
        raise Http404 from None


def _account_for_new_key(user_id: int, project_id: int | None) -> tuple[int, ListedProject | None]:
    if project_id is None:
        return user_id, None
    try:
        project = projects.get(user_id=user_id, project_id=project_id)
    except lifecycle.UnknownProject:
        raise Http404 from None
    if not project.may_make_keys:
        raise Http404
    return project.owner_id, project


def month_start() -> datetime:
    """The beginning of this month by the calendar of the page's language."""
    today = timezone.localdate()
    first = formats.month_start(today, language=get_language())
    return datetime.combine(first, time.min, tzinfo=timezone.get_current_timezone())


def _tier(account_id: int) -> Tier:
    return Tier.objects.get(users=account_id)
