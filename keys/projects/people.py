"""The people of a project beside its owner: invited by mobile number, they accept or refuse, leave or are removed.

An invitation says nothing of whether an account has the number: it waits for whoever signs in with it.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import User
from keys.actors import OPERATOR, Actor
from keys.lifecycle import UnknownProject
from keys.models import APIKey, KeyChange, Member, Project
from keys.projects import projects

MAX_MEMBERS = 50


class TooManyMembers(Exception):
    """The project already has the most members and invitations that are allowed."""


class AlreadyInvited(Exception):
    """The number is invited to this project, or its owner's."""


class UnknownMember(Exception):
    """The project has no such member."""


@dataclass(frozen=True, slots=True)
class ListedMember:
    """`user_id`: who accepted; None: nobody yet."""

    member_id: int
    mobile: str
    role: projects.Role
    user_id: int | None
    invited_at: datetime
    accepted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invitation:
    project_id: int
    name: str
    owner_mobile: str
    role: projects.Role


def invite(*, user_id: int, project_id: int, mobile: str, role: projects.Role, by: Actor = OPERATOR) -> None:
    """Invites a number (E.164) as a member or a viewer. Opens a transaction.

    Raises UnknownProject (for others than the owner, too), AlreadyInvited, TooManyMembers.
    """
    assert role is not projects.Role.OWNER
    with transaction.atomic():
        project = projects.locked(user_id=user_id, project_id=project_id)
        members = Member.objects.filter(project=project)
        is_known = members.filter(mobile=mobile).exists() or members.filter(user__mobile=mobile).exists()
        if is_known or User.objects.filter(pk=user_id, mobile=mobile).exists():
            raise AlreadyInvited
        if members.count() >= MAX_MEMBERS:
            raise TooManyMembers
        Member.objects.create(project=project, mobile=mobile, role=role)
        _log(project, by, mobile, None, role)


def invitations(*, user_id: int) -> list[Invitation]:
    """What waits for the holder of the user's number."""
    return [
        Invitation(
            member.project_id, member.project.name, member.project.owner.mobile, projects.Role(member.role)
        )
        for member in _waiting(user_id).select_related("project__owner")
    ]


def accept(*, user_id: int, project_id: int) -> None:
    """Joins the project. A repeat changes nothing. Raises UnknownProject where no invitation waits."""
    if Member.objects.filter(project=project_id, user_id=user_id).exists():
        return
    with transaction.atomic():
        if (
            not _waiting(user_id)
            .filter(project=project_id)
            .update(user_id=user_id, accepted_at=timezone.now())
        ):
            raise UnknownProject(project_id)


def refuse(*, user_id: int, project_id: int) -> None:
    """The invitation is seen no more; its owner learns nothing of it. A repeat changes nothing."""
    _waiting(user_id).filter(project=project_id).update(refused_at=timezone.now())


def leave(*, user_id: int, project_id: int) -> None:
    """Leaves a project; the keys that the user made there stay. A repeat changes nothing."""
    Member.objects.filter(project=project_id, user_id=user_id).delete()


def members(*, project_id: int) -> list[ListedMember]:
    """Of a project that the caller has looked up for its reader."""
    return [
        ListedMember(
            member.pk,
            member.user.mobile if member.user else member.mobile,
            projects.Role(member.role),
            member.user_id,
            member.invited_at,
            member.accepted_at,
        )
        for member in Member.objects.filter(project=project_id).select_related("user")
    ]


def set_role(
    *, user_id: int, project_id: int, member_id: int, role: projects.Role, by: Actor = OPERATOR
) -> None:
    """Raises UnknownProject, UnknownMember. Opens a transaction."""
    assert role is not projects.Role.OWNER
    with transaction.atomic():
        project = projects.locked(user_id=user_id, project_id=project_id)
        member = Member.objects.filter(pk=member_id, project=project).first()
        if member is None:
            raise UnknownMember(member_id)
        if member.role != role:
            _log(project, by, member.mobile, member.role, role)
            member.role = role
            member.save(update_fields=["role"])


def remove(
    *, user_id: int, project_id: int, member_id: int, revokes_keys: bool, by: Actor = OPERATOR
) -> None:
    """Takes a member out of the project, or an invitation back, with the keys that they made or without. A transaction.

    A repeat changes nothing. Raises UnknownProject.
    """
    with transaction.atomic():
        project = projects.locked(user_id=user_id, project_id=project_id)
        member = Member.objects.filter(pk=member_id, project=project).first()
        if member is None:
            return
        if revokes_keys and member.user_id is not None:
            made = APIKey.objects.filter(project=project, created_by_id=member.user_id)
            projects.revoke_keys(user_id=user_id, keys=made, by=by)
        member.delete()
        _log(project, by, member.mobile, member.role, None)


def _log(project: Project, by: Actor, mobile: str, before: str | None, after: str | None) -> None:
    """A number with its role, as the log of changes tells of a field."""
    changed = tuple(None if role is None else f"{mobile} ({role})" for role in (before, after))
    projects.log(project, KeyChange.Action.CHANGED, by, {"member": (changed[0], changed[1])})


def _waiting(user_id: int) -> QuerySet[Member]:
    mobile = User.objects.filter(pk=user_id).values("mobile")[:1]
    return Member.objects.filter(mobile=mobile, user=None, refused_at=None, project__closed_at=None).exclude(
        project__owner_id=user_id
    )
