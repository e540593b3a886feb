"""What people do about who is in a project: invite, accept, refuse, leave, change a role, remove."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.shared import formats, signed_in
from keys.lifecycle import UnknownProject
from keys.projects import people
from keys.projects.projects import Role
from proxy.dashboard.keys.acting import person
from proxy.dashboard.projects.forms import InviteForm
from proxy.dashboard.projects.views import find, owned, show


@require_POST
@login_required
@never_cache
def invite(request: HttpRequest, project_id: int) -> HttpResponse:
    owned(request, project_id)
    form = InviteForm(request.POST)
    if not form.is_valid():
        return show(request, project_id, form)
    try:
        people.invite(
            user_id=signed_in.user_id(request),
            project_id=project_id,
            mobile=form.cleaned_data["mobile"],
            role=form.wanted_role(),
            by=person(request),
        )
    except people.AlreadyInvited:
        form.add_error("mobile", _("This number is in the project already."))
    except people.TooManyMembers:
        limit = formats.number_text(people.MAX_MEMBERS, language=get_language())
        form.add_error("mobile", _("A project has %(limit)s members at most.") % {"limit": limit})
    if form.errors:
        return show(request, project_id, form)
    messages.success(request, _("Invited. They find the invitation under Projects once they sign in."))
    return redirect("projects:detail", project_id)


@require_POST
@login_required
@never_cache
def accept(request: HttpRequest, project_id: int) -> HttpResponse:
    try:
        people.accept(user_id=signed_in.user_id(request), project_id=project_id)
    except UnknownProject:
        messages.warning(request, _("This invitation is no longer there."))
        return redirect("projects:list")
    return redirect("projects:detail", project_id)


@require_POST
@login_required
@never_cache
def refuse(request: HttpRequest, project_id: int) -> HttpResponse:
    people.refuse(user_id=signed_in.user_id(request), project_id=project_id)
    return redirect("projects:list")


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def leave(request: HttpRequest, project_id: int) -> HttpResponse:
    """Asks first (GET), then leaves (POST)."""
    if request.method == "POST":
        people.leave(user_id=signed_in.user_id(request), project_id=project_id)
        return redirect("projects:list")
    own = find(request, project_id)
    if own.project.is_owned:
        raise Http404
    return render(request, "projects/leave.html", {"project": own.project})


@require_POST
@login_required
@never_cache
def set_role(request: HttpRequest, project_id: int, member_id: int) -> HttpResponse:
    owned(request, project_id)
    if (role := request.POST.get("role")) not in (Role.MEMBER.value, Role.VIEWER.value):
        raise Http404
    try:
        people.set_role(
            user_id=signed_in.user_id(request),
            project_id=project_id,
            member_id=member_id,
            role=Role(role),
            by=person(request),
        )
    except people.UnknownMember:
        raise Http404 from None
    return redirect("projects:detail", project_id)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def remove(request: HttpRequest, project_id: int, member_id: int) -> HttpResponse:
    """Asks first (GET), with the offer to revoke the member's keys, then removes (POST)."""
    project = owned(request, project_id).project
    if request.method == "POST":
        people.remove(
            user_id=signed_in.user_id(request),
            project_id=project_id,
            member_id=member_id,
            revokes_keys="revoke" in request.POST,
            by=person(request),
        )
        return redirect("projects:detail", project_id)
    found = [each for each in people.members(project_id=project_id) if each.member_id == member_id]
    if not found:
        return redirect("projects:detail", project_id)
    return render(request, "projects/remove.html", {"project": project, "member": found[0]})
