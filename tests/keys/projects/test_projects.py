"""Projects: who sees them and may do what, whose keys stop when, and what the database refuses."""

from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.utils import timezone

from accounts.models import User
from keys import changes, lifecycle, reading
from keys.lifecycle import CreatedKey, UnknownProject
from keys.lookup import KeyIdentity, fetch
from keys.models import APIKey, Member, Project
from keys.projects import people, projects
from keys.projects.projects import NotAllowed, Role
from tests.factories import UserFactory
from tests.keys.test_lookup import Database
from tests.wallet.test_database_rules import refused_by

pytestmark = pytest.mark.django_db


def open_project(owner: User | None = None) -> tuple[User, int]:
    owner = owner or UserFactory.create()
    return owner, projects.create(user_id=owner.pk, name=" Shop ")


def join(owner: User, project_id: int, role: Role = Role.MEMBER) -> User:
    user: User = UserFactory.create()
    people.invite(user_id=owner.pk, project_id=project_id, mobile=user.mobile, role=role)
    people.accept(user_id=user.pk, project_id=project_id)
    return user


def key_of(owner: User, project_id: int, by: User | None = None) -> CreatedKey:
    return lifecycle.create(
        user_id=owner.pk, name="test", project_id=project_id, created_by_id=by.pk if by else None
    )


def works(key: CreatedKey) -> bool:
    return APIKey.objects.filter(reading.working(timezone.now()), pk=key.key_id).exists()


def test_a_project_is_seen_by_its_owner_and_by_who_accepted() -> None:
    owner, project = open_project()
    invited = UserFactory.create()
    people.invite(user_id=owner.pk, project_id=project, mobile=invited.mobile, role=Role.VIEWER)
    [seen] = projects.listing(user_id=owner.pk)
    assert (seen.name, seen.role, seen.is_owned) == ("Shop", Role.OWNER, True)
    with pytest.raises(UnknownProject):
        projects.get(user_id=invited.pk, project_id=project)
    assert projects.listing(user_id=invited.pk) == []
    [waiting] = people.invitations(user_id=invited.pk)
    assert (waiting.project_id, waiting.owner_mobile, waiting.role) == (project, owner.mobile, Role.VIEWER)
    for _ in range(2):
        people.accept(user_id=invited.pk, project_id=project)
    assert people.invitations(user_id=invited.pk) == []
    assert projects.get(user_id=invited.pk, project_id=project).role is Role.VIEWER
    assert [each.role for each in projects.listing(user_id=invited.pk)] == [Role.VIEWER]


def test_a_key_is_not_made_for_whoever_has_just_left_or_only_sees() -> None:
    owner, project = open_project()
    viewer, leaver = join(owner, project, Role.VIEWER), join(owner, project)
    people.leave(user_id=leaver.pk, project_id=project)
    for user in (viewer, leaver, UserFactory.create()):
        with pytest.raises(UnknownProject):
            key_of(owner, project, user)
    assert reading.listing(owner.pk, project_id=project) == []


def test_an_invitation_waits_for_whoever_signs_in_with_the_number() -> None:
    owner, project = open_project()
    people.invite(user_id=owner.pk, project_id=project, mobile="+989121110000", role=Role.MEMBER)
    [before] = people.members(project_id=project)
    newcomer = UserFactory.create(mobile="+989121110000")
    assert people.members(project_id=project) == [before]  # the owner learns of no account
    assert [each.project_id for each in people.invitations(user_id=newcomer.pk)] == [project]
    people.refuse(user_id=newcomer.pk, project_id=project)
    assert people.members(project_id=project) == [before]  # nor of a refusal
    assert people.invitations(user_id=newcomer.pk) == []
    with pytest.raises(UnknownProject):
        people.accept(user_id=newcomer.pk, project_id=project)


def test_nobody_is_invited_twice_nor_the_owner_nor_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, project = open_project()
    invited = join(owner, project)
    for mobile in (owner.mobile, invited.mobile):
        with pytest.raises(people.AlreadyInvited):
            people.invite(user_id=owner.pk, project_id=project, mobile=mobile, role=Role.VIEWER)
    monkeypatch.setattr(people, "MAX_MEMBERS", 1)
    with pytest.raises(people.TooManyMembers):
        people.invite(user_id=owner.pk, project_id=project, mobile="+989121110001", role=Role.VIEWER)


def test_only_the_owner_manages_a_project() -> None:
    owner, project = open_project()
    member = join(owner, project)
    [row] = people.members(project_id=project)
    attempts: list[Any] = [
        lambda: projects.change(user_id=member.pk, project_id=project, name="x", budget_id=None),
        lambda: projects.close(user_id=member.pk, project_id=project),
        lambda: people.invite(
            user_id=member.pk, project_id=project, mobile="+989121110002", role=Role.VIEWER
        ),
        lambda: people.set_role(
            user_id=member.pk, project_id=project, member_id=row.member_id, role=Role.VIEWER
        ),
        lambda: people.remove(
            user_id=member.pk, project_id=project, member_id=row.member_id, revokes_keys=True
        ),
        lambda: key_of(member, project),
    ]
    for attempt in attempts:
        with pytest.raises(UnknownProject):
            attempt()
    assert projects.get(user_id=member.pk, project_id=project).role is Role.MEMBER


def test_members_change_the_keys_they_made_and_the_owner_each() -> None:
    owner, project = open_project()
    member, other = join(owner, project), join(owner, project)
    viewer = join(owner, project, Role.VIEWER)
    key = key_of(owner, project, member).key_id
    for allowed in (owner, member):
        projects.key_for_change(user_id=allowed.pk, project_id=project, key_id=key)
    for refused in (other, viewer):
        with pytest.raises(NotAllowed):
            projects.key_for_change(user_id=refused.pk, project_id=project, key_id=key)
    with pytest.raises(UnknownProject):
        projects.key_for_change(user_id=UserFactory.create().pk, project_id=project, key_id=key)
    outside = lifecycle.create(user_id=owner.pk, name="mine").key_id
    with pytest.raises(reading.UnknownKey):
        projects.key_for_change(user_id=owner.pk, project_id=project, key_id=outside)
    people.set_role(
        user_id=owner.pk,
        project_id=project,
        member_id=people.members(project_id=project)[0].member_id,
        role=Role.VIEWER,
    )
    with pytest.raises(NotAllowed):
        projects.key_for_change(user_id=member.pk, project_id=project, key_id=key)


def test_keys_of_projects_are_listed_there_and_replaced_there(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, project = open_project()
    member = join(owner, project)
    key = key_of(owner, project, member)
    assert reading.listing(owner.pk) == []
    assert reading.listing(member.pk) == []
    assert reading.newest_working(user_id=owner.pk) is None
    [listed] = reading.listing(owner.pk, project_id=project)
    assert (listed.key_id, listed.created_by_id) == (key.key_id, member.pk)
    new = lifecycle.rotate(user_id=owner.pk, key_id=key.key_id, grace=lifecycle.DAY)
    replaced = reading.get(user_id=owner.pk, key_id=new.key_id)
    assert (replaced.project_id, replaced.created_by_id) == (project, member.pk)
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 1)
    with pytest.raises(lifecycle.TooManyKeys):
        key_of(owner, project)
    lifecycle.create(user_id=owner.pk, name="mine")  # counted by itself


def test_who_leaves_or_is_removed_leaves_keys_behind_unless_they_are_revoked() -> None:
    owner, project = open_project()
    leaver, removed, purged = (join(owner, project) for _ in range(3))
    keys = [key_of(owner, project, each) for each in (leaver, removed, purged)]
    people.leave(user_id=leaver.pk, project_id=project)
    for who, revokes_keys in ((removed, False), (purged, True)):
        [row] = [each for each in people.members(project_id=project) if each.user_id == who.pk]
        for _ in range(2):
            people.remove(
                user_id=owner.pk, project_id=project, member_id=row.member_id, revokes_keys=revokes_keys
            )
    assert people.members(project_id=project) == []
    assert [works(key) for key in keys] == [True, True, False]
    for who in (leaver, removed, purged):
        with pytest.raises(UnknownProject):
            projects.get(user_id=who.pk, project_id=project)
    told = [row.changes["member"] for row in changes.page(user_id=owner.pk).rows if "member" in row.changes]
    assert told[0] == [f"{purged.mobile} (member)", None]


def test_a_project_that_is_closed_takes_its_keys_along() -> None:
    owner, project = open_project()
    member = join(owner, project)
    keys = [key_of(owner, project), key_of(owner, project, member)]
    mine = lifecycle.create(user_id=owner.pk, name="mine")
    projects.close(user_id=owner.pk, project_id=project)
    assert [works(key) for key in (*keys, mine)] == [False, False, True]
    assert projects.listing(user_id=owner.pk) == projects.listing(user_id=member.pk) == []
    with pytest.raises(UnknownProject):
        projects.close(user_id=owner.pk, project_id=project)
    with pytest.raises(UnknownProject):
        key_of(owner, project)
    assert [row.action for row in changes.page(user_id=owner.pk).rows].count("revoked") == 3


def test_a_form_sent_twice_makes_one_project_and_there_are_never_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, token = UserFactory.create(), uuid4()
    made = {projects.create(user_id=owner.pk, name="x", creation_token=token) for _ in range(2)}
    assert len(made) == 1
    monkeypatch.setattr(projects, "MAX_PROJECTS", 1)
    with pytest.raises(projects.TooManyProjects):
        projects.create(user_id=owner.pk, name="y")
    for name in ("", "  ", "a\nb", "x" * 81):
        with pytest.raises(ValueError, match="a name of"):
            projects.create(user_id=UserFactory.create().pk, name=name)


async def test_the_wallet_and_the_limits_of_a_key_are_its_projects_owners(committed_db: None) -> None:
    def make() -> tuple[User, User, int, CreatedKey]:
        owner, project = open_project()
        member = join(owner, project)
        projects.change(user_id=owner.pk, project_id=project, name="Shop", budget_id=7)
        return owner, member, project, key_of(owner, project, member)

    async def found() -> KeyIdentity | None:
        async with Database().connect() as opened:
            return await fetch(opened, key.secret)

    owner, member, project, key = await sync_to_async(make)()
    identity = await found()
    assert identity is not None
    assert (identity.user_id, identity.wallet_id) == (owner.pk, owner.pk)
    assert (identity.project_id, identity.project_budget_id, identity.budget_id) == (project, 7, None)
    assert identity.is_budgeted
    for blocked in (owner, member):
        await User.objects.filter(pk=blocked.pk).aupdate(is_active=False)
        assert await found() is None
        await User.objects.filter(pk=blocked.pk).aupdate(is_active=True)
    assert await found() == identity
    await Project.objects.filter(pk=project).aupdate(closed_at=timezone.now())
    assert await found() is None
    await sync_to_async(connections.close_all)()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"role": "owner"}, "member_role_known"),
        ({"mobile": ""}, "member_has_mobile"),
        ({"accepted_at": timezone.now()}, "member_accepted_by_user"),
    ],
)
def test_a_bad_member_is_refused(change: dict[str, Any], rule: str) -> None:
    _owner, project = open_project()
    fields = {"project_id": project, "mobile": "+989121110003", "role": "member", **change}
    assert refused_by(lambda: Member.objects.create(**fields)) == rule


def test_the_database_keeps_people_and_names_apart() -> None:
    owner, project = open_project()
    member = join(owner, project)
    again = {"project_id": project, "role": "member"}
    assert refused_by(lambda: Member.objects.create(**again, mobile=member.mobile)) == "member_invited_once"
    joined = {**again, "mobile": "+989121110004", "user": member, "accepted_at": timezone.now()}
    assert refused_by(lambda: Member.objects.create(**joined)) == "member_once"
    assert refused_by(lambda: Project.objects.create(owner=owner, name="")) == "project_has_name"
    token = uuid4()
    Project.objects.create(owner=owner, name="x", creation_token=token)
    assert (
        refused_by(lambda: Project.objects.create(owner=owner, name="x", creation_token=token))
        == "project_created_once"
    )
    key = APIKey.objects.filter(pk=key_of(owner, project, member).key_id)
    assert refused_by(lambda: key.update(project=None)) == "apikey_of_project_is_standard"
    assert (
        refused_by(lambda: key.update(kind="session", expires_at=timezone.now()))
        == "apikey_of_project_is_standard"
    )
