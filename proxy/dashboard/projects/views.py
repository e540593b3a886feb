"""Pages for the projects of a person: those they own, those they have joined, and what invites them."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import User
from accounts.shared import formats, signed_in
from keys.lifecycle import UnknownProject
from keys.projects import people, projects
from proxy import own_projects
from proxy.dashboard.keys.acting import person
from proxy.dashboard.keys.views import month_start
from proxy.dashboard.projects.forms import ROLES, InviteForm, ProjectForm
from proxy.own_keys import OwnKey
from proxy.own_projects import OwnProject


@dataclass(frozen=True, slots=True)
class KeyRow:
    """`made_by` is a mobile number; None: one that the reader is not to see."""

    own: OwnKey
    made_by: str | None
    may_change: bool


@require_safe
@login_required
@never_cache
def list_projects(request: HttpRequest) -> HttpResponse:
    user_id = signed_in.user_id(request)
    context = {
        "projects": own_projects.listing(user_id=user_id, month_start=month_start()),
        "invitations": people.invitations(user_id=user_id),
        "tab": "projects",
    }
    return render(request, "projects/list.html", context)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def create_project(request: HttpRequest) -> HttpResponse:
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project_id = own_projects.create(
                user_id=signed_in.user_id(request),
                name=form.cleaned_data["name"],
                cap_micro=form.cap_micro(),
                cap_period=form.wanted_period(),
                creation_token=form.cleaned_data["token"],
                by=person(request),
            )
        except projects.TooManyProjects:
            limit = formats.number_text(projects.MAX_PROJECTS, language=get_language())
            form.add_error(
                None, _("You have %(limit)s projects, which is the most you can have.") % {"limit": limit}
            )
        else:
            return redirect("projects:detail", project_id)
    return render(request, "projects/create.html", {"form": form}, status=400 if form.errors else 200)


@require_safe
@login_required
@never_cache
def project_page(request: HttpRequest, project_id: int) -> HttpResponse:
    return show(request, project_id, InviteForm())


def show(request: HttpRequest, project_id: int, invite_form: InviteForm) -> HttpResponse:
    """The page of a project with a form for invitations, as it was filled in."""
    user_id, own = signed_in.user_id(request), find(request, project_id)
    keys = own_projects.keys(own.project, month_start=month_start())
    makers = {key.key.created_by_id for key in keys if key.key.created_by_id is not None}
    if not own.project.is_owned:
        makers &= {user_id}  # the numbers of the others are the owner's to see
    numbers = dict(User.objects.filter(pk__in=makers).values_list("pk", "mobile"))
    rows = [
        KeyRow(
            key,
            made_by=own.project.owner_mobile
            if key.key.created_by_id is None
            else numbers.get(key.key.created_by_id),
            may_change=projects.may_change(own.project, key.key, user_id=user_id),
        )
        for key in keys
    ]
    context: dict[str, Any] = {
        "own": own,
        "project": own.project,
        "working": [row for row in rows if row.own.key.is_usable],
        "ended": [row for row in rows if not row.own.key.is_usable],
        "members": people.members(project_id=project_id) if own.project.is_owned else (),
        "form": invite_form,
        "roles": ROLES,
    }
    return render(request, "projects/detail.html", context, status=400 if invite_form.errors else 200)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def edit_project(request: HttpRequest, project_id: int) -> HttpResponse:
    own = owned(request, project_id)
    form = ProjectForm(request.POST or None, name=own.project.name, cap=own.cap)
    if request.method == "POST" and form.is_valid():
        own_projects.change(
            user_id=signed_in.user_id(request),
            project_id=project_id,
            name=form.cleaned_data["name"],
            cap_micro=form.cap_micro(),
            cap_period=form.wanted_period(),
            by=person(request),
        )
        messages.success(request, _("Saved. The change takes effect everywhere within seconds."))
        return redirect("projects:detail", project_id)
    context = {"form": form, "project": own.project, "cap": own.cap}
    return render(request, "projects/edit.html", context, status=400 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def close_project(request: HttpRequest, project_id: int) -> HttpResponse:
    """Asks first (GET), then closes (POST); a second POST finds it closed."""
    if request.method == "POST":
        try:
            projects.close(user_id=signed_in.user_id(request), project_id=project_id, by=person(request))
        except UnknownProject:
            return redirect("projects:list")
        messages.success(request, _("The project is closed, and its keys are revoked."))
        return redirect("projects:list")
    return render(request, "projects/close.html", {"project": owned(request, project_id).project})


def find(request: HttpRequest, project_id: int) -> OwnProject:
    try:
        return own_projects.get(
            user_id=signed_in.user_id(request), project_id=project_id, month_start=month_start()
        )
    except UnknownProject:
        raise Http404 from None


def owned(request: HttpRequest, project_id: int) -> OwnProject:
    own = find(request, project_id)
    if not own.project.is_owned:
        raise Http404
    return own
