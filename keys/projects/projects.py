"""What happens to a project: it is created, renamed, capped, closed; and who may see it and do what with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from keys import changes, lifecycle, reading
from keys.actors import OPERATOR, Actor
from keys.changes import Changes
from keys.lifecycle import UnknownProject
from keys.models import APIKey, KeyChange, Member, Project
from keys.rules import clean_name

MAX_PROJECTS = 50
Subject, Action = KeyChange.Subject, KeyChange.Action


class TooManyProjects(Exception):
    """The user already has the most open projects that are allowed."""


class NotAllowed(Exception):
    """Somebody's role in the project does not allow this."""


class Role(StrEnum):
    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class ListedProject:
    """A project for the eyes of one of its people, whose `role` it names."""

    project_id: int
    name: str
    owner_id: int
    owner_mobile: str
    budget_id: int | None
    created_at: datetime
    role: Role

    @property
    def is_owned(self) -> bool:
        return self.role is Role.OWNER

    @property
    def may_make_keys(self) -> bool:
        return self.role is not Role.VIEWER


def create(
    *,
    user_id: int,
    name: str,
    open_budget: Callable[[], int | None] = lambda: None,
    creation_token: UUID | None = None,
    by: Actor = OPERATOR,
    also: Changes | None = None,
) -> int:
    """Makes a project; returns its id, the same one for the same token. Opens a transaction.

    `open_budget` makes what all its keys will count towards, and is called for a new project alone; `also` as in
    `lifecycle.create`. Raises TooManyProjects; ValueError for a name that is none (`keys.rules.clean_name`).
    """
    name = clean_name(name)
    with transaction.atomic():
        lifecycle.lock_owner(user_id=user_id)
        own = Project.objects.filter(owner_id=user_id)
        if creation_token and (made := own.filter(creation_token=creation_token).first()):
            return made.pk
        if own.filter(closed_at=None).count() >= MAX_PROJECTS:
            raise TooManyProjects
        project = own.create(
            owner_id=user_id, name=name, creation_token=creation_token, budget_id=open_budget()
        )
        log(project, Action.CREATED, by, also)
        return project.pk


def change(
    *,
    user_id: int,
    project_id: int,
    name: str,
    budget_id: int | None,
    by: Actor = OPERATOR,
    also: Changes | None = None,
) -> None:
    """Renames a project and sets what all its keys count towards, in force at once. Opens a transaction.

    `also` as in `lifecycle.create`. Raises UnknownProject; ValueError as in `create`.
    """
    name = clean_name(name)
    with transaction.atomic():
        project = locked(user_id=user_id, project_id=project_id)
        renamed = {} if name == project.name else {"name": (project.name, name)}
        is_moved = budget_id != project.budget_id
        project.name, project.budget_id = name, budget_id
        project.save(update_fields=["name", "budget_id"])
        if is_moved:
            lifecycle.announce(APIKey.objects.filter(project=project))
        if changed := {**renamed, **(also or {})}:
            log(project, Action.CHANGED, by, changed)


def close(*, user_id: int, project_id: int, by: Actor = OPERATOR) -> None:
    """Ends a project with all its keys, for good. Opens a transaction. Raises UnknownProject."""
    with transaction.atomic():
        project = locked(user_id=user_id, project_id=project_id)
        project.closed_at = timezone.now()
        project.save(update_fields=["closed_at"])
        log(project, Action.REVOKED, by)
        revoke_keys(user_id=user_id, keys=APIKey.objects.filter(project=project), by=by)


def revoke_keys(*, user_id: int, keys: "Iterable[APIKey]", by: Actor) -> None:
    """Revokes those that still work. Needs a transaction that has locked their owner."""
    for key in keys:
        if key.revoked_at is None:
            lifecycle.revoke(user_id=user_id, key_id=key.pk, by=by)


def listing(*, user_id: int) -> list[ListedProject]:
    """The open projects that a user owns or has joined, newest first."""
    found = (
        Project.objects.filter(Q(owner_id=user_id) | Q(members__user_id=user_id), closed_at=None)
        .select_related("owner")
        .distinct()
    )
    roles = dict(Member.objects.filter(user_id=user_id).values_list("project_id", "role"))
    return [_listed(project, user_id, roles.get(project.pk)) for project in found]


def get(*, user_id: int, project_id: int) -> ListedProject:
    """An open project that a user owns or has joined. Raises UnknownProject."""
    project = Project.objects.select_related("owner").filter(pk=project_id, closed_at=None).first()
    if project is None:
        raise UnknownProject(project_id)
    role = Member.objects.filter(project=project, user_id=user_id).values_list("role", flat=True).first()
    if role is None and project.owner_id != user_id:
        raise UnknownProject(project_id)
    return _listed(project, user_id, role)


def key_for_change(*, user_id: int, project_id: int, key_id: int) -> tuple[ListedProject, reading.ListedKey]:
    """A key of a project that a user may change, replace and revoke: the owner each, a member those they made.

    Raises UnknownProject, reading.UnknownKey, NotAllowed.
    """
    project = get(user_id=user_id, project_id=project_id)
    key = reading.get(user_id=project.owner_id, key_id=key_id)
    if key.project_id != project_id:
        raise reading.UnknownKey(key_id)
    if not may_change(project, key, user_id=user_id):
        raise NotAllowed(key_id)
    return project, key


def account_of(*, user_id: int, key_id: int) -> int:
    """Whose key it is that a user may change: their own, or one of a project. Raises reading.UnknownKey."""
    key = APIKey.objects.filter(pk=key_id).only("user_id", "project_id").first()
    if key is None:
        raise reading.UnknownKey(key_id)
    if key.user_id == user_id:
        return user_id
    if key.project_id is None:
        raise reading.UnknownKey(key_id)
    try:
        project, _key = key_for_change(user_id=user_id, project_id=key.project_id, key_id=key_id)
    except (UnknownProject, NotAllowed):
        raise reading.UnknownKey(key_id) from None
    return project.owner_id


def may_change(project: ListedProject, key: reading.ListedKey, *, user_id: int) -> bool:
    return project.is_owned or (project.may_make_keys and key.created_by_id == user_id)


def locked(*, user_id: int, project_id: int) -> Project:
    """An open project of the user's; nobody else changes it, or its keys, until the transaction ends, which it needs.

    Raises UnknownProject.
    """
    lifecycle.lock_owner(user_id=user_id)
    project = Project.objects.filter(pk=project_id, owner_id=user_id, closed_at=None).first()
    if project is None:
        raise UnknownProject(project_id)
    return project


def log(project: Project, action: KeyChange.Action, by: Actor, changed: Changes | None = None) -> None:
    """Needs the transaction that does it."""
    changes.record(
        user_id=project.owner_id,
        by=by,
        subject=Subject.PROJECT,
        subject_id=project.pk,
        name=project.name,
        action=action,
        changes=changed,
    )


def _listed(project: Project, user_id: int, role: str | None) -> ListedProject:
    return ListedProject(
        project_id=project.pk,
        name=project.name,
        owner_id=project.owner_id,
        owner_mobile=project.owner.mobile,
        budget_id=project.budget_id,
        created_at=project.created_at,
        role=Role.OWNER if project.owner_id == user_id else Role(role or Role.VIEWER),
    )
