"""The project pages, through Django's test client: who sees what, and every form with its second click."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from keys import lifecycle, reading
from keys.models import Project
from keys.projects import people, projects
from keys.projects.projects import Role
from proxy import own_projects
from tests.factories import UserFactory, WalletFactory
from wallet.ledger.models import Budget
from wallet.ledger.periods import Period

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


@pytest.fixture
def owner() -> User:
    user: User = WalletFactory.create().user
    return user


@pytest.fixture
def project(owner: User) -> int:
    return projects.create(user_id=owner.pk, name="Shop")


def address(name: str, *ids: int) -> str:
    return reverse(f"projects:{name}", args=ids)


def join(owner: User, project: int, role: Role = Role.MEMBER) -> User:
    user: User = UserFactory.create()
    people.invite(user_id=owner.pk, project_id=project, mobile=user.mobile, role=role)
    people.accept(user_id=user.pk, project_id=project)
    return user


def fresh(client: Client, path: str) -> dict[str, Any]:
    form = client.get(path).context["form"]
    return {name: form[name].value() for name in form.fields if form[name].value()}


def test_strangers_are_sent_to_sign_in(client: Client) -> None:
    assert client.get(address("list"))["Location"].startswith(reverse("accounts:sign_in"))


def test_a_project_is_made_capped_and_closed(owner: User) -> None:
    browser = signed_in(owner)
    assert "No project yet" in browser.get(address("list")).text
    form = {**fresh(browser, address("create")), "name": "Shop"}
    made = {browser.post(address("create"), form)["Location"] for _ in range(2)}
    [project] = Project.objects.filter(owner=owner)
    assert made == {address("detail", project.pk)}
    edit = {**fresh(browser, address("edit", project.pk)), "cap": "۵۰٬۰۰۰", "cap_period": "month"}
    assert browser.post(address("edit", project.pk), edit).status_code == 302
    [budget] = Budget.objects.filter(wallet_id=owner.pk)
    assert (budget.limit_micro, budget.period) == (50_000 * 10**7, "month")
    for page in (address("list"), address("detail", project.pk)):
        assert "0 Toman of 50,000 Toman" in browser.get(page).text
        assert "per month" in browser.get(page).text
    wrong = browser.post(address("edit", project.pk), {**edit, "cap": "0"})
    assert wrong.status_code == 400
    assert "at least 1 Toman" in wrong.text
    assert browser.get(address("close", project.pk)).status_code == 200
    for _ in range(2):
        assert browser.post(address("close", project.pk))["Location"] == address("list")
    assert browser.get(address("detail", project.pk)).status_code == 404


def test_a_project_can_be_made_with_its_cap(owner: User) -> None:
    browser = signed_in(owner)
    form = {**fresh(browser, address("create")), "name": "Shop", "cap": "۲۰٬۰۰۰", "cap_period": "day"}
    wrong = browser.post(address("create"), {**form, "cap": "0"})
    assert (wrong.status_code, Project.objects.filter(owner=owner).exists()) == (400, False)
    for _ in range(2):
        assert browser.post(address("create"), form).status_code == 302
    [project], [budget] = Project.objects.filter(owner=owner), Budget.objects.filter(wallet_id=owner.pk)
    assert (project.budget_id, budget.limit_micro, budget.period) == (budget.pk, 20_000 * 10**7, "day")
    assert "20,000" in browser.get(reverse("keys:changes")).text


def test_an_invitation_is_found_accepted_or_refused_by_its_number(owner: User, project: int) -> None:
    browser, invited = signed_in(owner), UserFactory.create()
    sent = {"mobile": invited.mobile, "role": "viewer"}
    assert browser.post(address("invite", project), sent).status_code == 302
    again = browser.post(address("invite", project), sent)
    assert (again.status_code, "in the project already" in again.text) == (400, True)
    assert (
        "not an Iranian mobile number"
        in browser.post(address("invite", project), {**sent, "mobile": "1"}).text
    )
    assert "invited" in browser.get(address("detail", project)).text
    theirs = signed_in(invited)
    assert "Shop" in theirs.get(address("list")).text
    for _ in range(2):
        assert theirs.post(address("accept", project))["Location"] == address("detail", project)
    assert "Create a key" not in theirs.get(address("detail", project)).text
    other = UserFactory.create()
    people.invite(user_id=owner.pk, project_id=project, mobile=other.mobile, role=Role.MEMBER)
    for _ in range(2):
        signed_in(other).post(address("refuse", project))
    assert "Shop" not in signed_in(other).get(address("list")).text
    assert signed_in(other).post(address("accept", project))["Location"] == address("list")


def test_a_member_makes_and_manages_keys_that_the_owner_pays(owner: User, project: int) -> None:
    member = join(owner, project)
    browser, create = signed_in(member), address("create_key", project)
    sent = {**fresh(browser, create), "name": "bot"}
    assert "hm-" in browser.post(create, sent).text
    again = browser.post(create, sent)
    assert again["Location"] == address("detail", project)
    [key] = reading.listing(owner.pk, project_id=project)
    assert (key.name, key.created_by_id) == ("bot", member.pk)
    assert "bot" in browser.get(address("detail", project)).text
    assert "bot" not in browser.get(reverse("keys:list")).text
    page = browser.get(reverse("keys:detail", args=[key.key_id])).text
    assert "Usage of this key" not in page
    edit = reverse("keys:edit", args=[key.key_id])
    assert browser.post(edit, {**fresh(browser, edit), "name": "robot", "cap": "10"}).status_code == 302
    [budget] = Budget.objects.filter(wallet_id=owner.pk)
    rotate = reverse("keys:rotate", args=[key.key_id])
    assert "hm-" in browser.post(rotate, fresh(browser, rotate)).text
    revoke = reverse("keys:revoke", args=[key.key_id])
    assert browser.post(revoke)["Location"] == address("detail", project)
    for who, status in ((owner, 200), (join(owner, project), 404), (UserFactory.create(), 404)):
        for name in ("detail", "revoke"):
            got = signed_in(who).get(reverse(f"keys:{name}", args=[key.key_id]), follow=True)
            assert got.status_code == status
    assert budget.limit_micro == 10 * 10**7


def test_only_the_owner_finds_the_pages_that_manage(owner: User, project: int) -> None:
    member, viewer = join(owner, project), join(owner, project, Role.VIEWER)
    row = people.members(project_id=project)[0].member_id
    for user in (member, viewer, UserFactory.create()):
        browser = signed_in(user)
        for name in ("edit", "close"):
            assert browser.get(address(name, project)).status_code == 404
        assert browser.post(address("edit", project), {"name": "x"}).status_code == 404
        assert browser.post(address("invite", project), {"mobile": "09121110009"}).status_code == 404
        assert browser.get(address("remove", project, row)).status_code == 404
        assert browser.post(address("remove", project, row)).status_code == 404
        assert browser.post(address("set_role", project, row), {"role": "viewer"}).status_code == 404
        browser.post(address("close", project))
    assert Project.objects.get(pk=project).closed_at is None
    assert signed_in(viewer).get(address("create_key", project)).status_code == 404
    assert len(people.members(project_id=project)) == 2
    own = own_projects.listing(user_id=member.pk, month_start=Project.objects.get(pk=project).created_at)
    assert [each.project.project_id for each in own] == [project]


def test_members_do_not_see_each_others_numbers(owner: User, project: int) -> None:
    member, other = join(owner, project), join(owner, project)
    lifecycle.create(user_id=owner.pk, name="x", project_id=project, created_by_id=other.pk)
    text = signed_in(member).get(address("detail", project)).text
    assert "0" + owner.mobile[3:] in text
    assert other.mobile[3:] not in text
    assert "another member" in text
    assert other.mobile[3:] in signed_in(owner).get(address("detail", project)).text


def test_a_member_is_removed_with_their_keys_and_another_leaves(owner: User, project: int) -> None:
    member, leaver = join(owner, project), join(owner, project)
    lifecycle.create(user_id=owner.pk, name="x", project_id=project, created_by_id=member.pk)
    browser = signed_in(owner)
    row = people.members(project_id=project)[0].member_id
    assert browser.post(address("set_role", project, row), {"role": "viewer"}).status_code == 302
    assert people.members(project_id=project)[0].role is Role.VIEWER
    assert browser.post(address("set_role", project, row), {"role": "owner"}).status_code == 404
    assert "Revoke the keys they created" in browser.get(address("remove", project, row)).text
    for _ in range(2):
        assert browser.post(address("remove", project, row), {"revoke": "on"}).status_code == 302
    [key] = reading.listing(owner.pk, project_id=project)
    assert key.state is reading.State.REVOKED
    assert browser.get(address("remove", project, row)).status_code == 302
    theirs = signed_in(leaver)
    assert theirs.get(address("leave", project)).status_code == 200
    for _ in range(2):
        assert theirs.post(address("leave", project))["Location"] == address("list")
    assert people.members(project_id=project) == []
    assert browser.get(address("leave", project)).status_code == 404


@pytest.mark.parametrize(
    ("language", "role", "period"), [("en", "viewer", "for each week"), ("fa", "بیننده", "هر هفته")]
)
def test_the_log_of_changes_tells_of_people_and_periods_in_the_readers_words(
    owner: User, project: int, language: str, role: str, period: str
) -> None:
    people.invite(user_id=owner.pk, project_id=project, mobile="+989121112233", role=Role.VIEWER)
    own_projects.change(
        user_id=owner.pk, project_id=project, name="Shop", cap_micro=10**10, cap_period=Period.WEEK
    )
    client = signed_in(owner)
    client.cookies["hamiran_language"] = language
    page = client.get(reverse("keys:changes")).content.decode()
    assert "+98" not in page
    assert role in page
    assert period in page
    assert "cap_period" not in page
