"""The admin's front page: its figures are those of the rows behind them, and each role sees its own."""

import csv
import io
import random
import re
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import Group
from django.db.models import Sum
from django.test import Client
from django.utils import timezone

from accounts import message_counts
from accounts.channel_models import MessageCount, Notice
from accounts.models import Challenge, User
from accounts.shared import formats
from config.models import TaskRun
from config.tasks import watch
from proxy.catalogue.models import Upstream
from proxy.dashboard.business import page, spans
from proxy.dashboard.business.tables import Cell, Table
from proxy.upstreams import breakers
from proxy.upstreams.rests import HASH, Told, field_of
from proxy.usage import progress
from proxy.usage.models import UsageRecord
from proxy.usage.sales import counting
from proxy.usage.sales.models import CustomerSales, RouteSales, SalesProgress
from tests.admin_browser import admin_browser
from tests.factories import UserFactory, WalletFactory
from tests.proxy.factories import LanguageModelFactory, UpstreamFactory, UsageRecordFactory
from wallet.ledger.models import Hold, Wallet
from wallet.payments.models import TopUp

pytestmark = pytest.mark.django_db
Outcome, BilledBy = UsageRecord.Outcome, UsageRecord.BilledBy
TOMAN = 10_000_000


@pytest.fixture(autouse=True)
def nothing_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "CHUNK", timedelta(days=100))  # all in one piece
    counted = (RouteSales, CustomerSales, SalesProgress, MessageCount)
    for model in (UsageRecord, *counted, Hold, TopUp, Challenge, Notice):
        model.objects.all().delete()
    Wallet.objects.update(frozen_at=None, held_micro=0)
    Upstream.objects.update(is_active=False)


@pytest.fixture
def browser() -> Client:
    return admin_browser()


def browser_of(role: str) -> Client:
    admin = UserFactory.create(is_staff=True)
    admin.groups.add(Group.objects.get(name=role))
    return admin_browser(admin)


def business(*, seed: int = 3) -> list[User]:
    """Some weeks of it: customers who paid and called, calls that went well and others."""
    chance, now = random.Random(seed), timezone.now()
    models = [LanguageModelFactory.create(model_id=f"front/{name}").model_id for name in "abc"]
    upstreams = UpstreamFactory.create_batch(2)
    customers = [WalletFactory.create().user for _ in range(4)]
    for _ in range(120):
        at = now - timedelta(seconds=chance.choice([3_600, 3 * 86_400, 20 * 86_400, 45 * 86_400]))
        outcome = chance.choice([Outcome.COMPLETED] * 6 + list(Outcome))
        is_billed = outcome in (Outcome.COMPLETED, Outcome.CLIENT_LEFT)
        fields: dict[str, Any] = {} if is_billed else {"billed_by": BilledBy.NOTHING, "cost_micro": 0}
        if is_billed and chance.random() < 0.7:
            fields["upstream_cost_micro"] = chance.randint(1, 50_000)
        UsageRecordFactory.create(
            created_at=at - timedelta(minutes=chance.randrange(600)),
            user_id=chance.choice(customers).pk,
            model=chance.choice(models),
            upstream_id=chance.choice(upstreams).pk,
            outcome=outcome,
            prompt_tokens=chance.randrange(900),
            **fields,
        )
    for number in range(15):
        topup(chance.choice(customers), at=now - timedelta(days=3 * number, hours=2), toman=1_000 + number)
    for status in (TopUp.Status.REVIEW, TopUp.Status.RETURNED, TopUp.Status.REDIRECTED):
        topup(customers[0], at=now - timedelta(hours=5), toman=7_000, status=status)
    for minutes in (-60, 10):
        Hold.objects.create(
            id=uuid.uuid4(),
            wallet_id=customers[0].pk,
            amount_micro=3 * TOMAN,
            created_at=now - timedelta(minutes=90),
            expires_at=now + timedelta(minutes=minutes),
        )
    Wallet.objects.filter(pk=customers[0].pk).update(posted_micro=9 * TOMAN, held_micro=6 * TOMAN)
    for answered in (True, True, False):
        Challenge.objects.create(
            mobile="+989121112233",
            digest=b"d",
            pepper_version=1,
            browser_digest=b"b",
            address="10.0.0.1",
            created_at=now,
            expires_at=now + timedelta(minutes=2),
            consumed_at=now if answered else None,
            voided_at=None if answered else now,
        )
    for number, ended in enumerate((Notice.Outcome.SENT, Notice.Outcome.SENT, Notice.Outcome.FAILED)):
        Notice.objects.create(
            user=customers[number], channel="sms", event="low_balance", dedup="1", outcome=ended
        )
    counting.count()
    message_counts.count()
    return customers


def topup(user: User, *, at: datetime, toman: int, status: str = TopUp.Status.CREDITED) -> TopUp:
    reference = uuid.uuid4().hex
    made: TopUp = TopUp.objects.create(
        user=user,
        gateway="sandbox",
        amount_micro=toman * TOMAN,
        vat_micro=toman * TOMAN // 10,
        status=status,
        authority=reference,
        ref_id=reference if status == TopUp.Status.CREDITED else None,
        created_at=at,
        returned_at=at,
        credited_at=at if status == TopUp.Status.CREDITED else None,
    )
    return made


def tables_of(browser: Client, period: str) -> dict[str, Table]:
    front: page.Front = browser.get("/admin/", {"period": period}).context["front"]
    return {table.name: table for table in (front.summary, *front.now, *front.tables)}


def within(found: Any, days: int, field: str = "created_at") -> Any:
    since = spans.span({1: "today", 7: "7d", 30: "30d"}[days], now=timezone.now()).since
    return found.filter(**{f"{field}__gte": since})


def by_title(table: Table) -> dict[str, list[Cell]]:
    return {row[0].raw: list(row[1:]) for row in table.rows}


def toman_of(cell: Cell) -> int:
    whole, _dot, rest = cell.raw.partition(".")
    return int(whole) * TOMAN + int(rest.ljust(7, "0") or 0)


def sums(table: Table) -> dict[str, int]:
    """Of each column of counts, or of money (in micro-Rial)."""
    found = {}
    for number, column in enumerate(table.columns[1:], start=1):
        cells = [row[number] for row in table.rows]
        if "Toman" in column:
            found[column] = sum(toman_of(cell) for cell in cells if cell.raw)
        elif all(cell.raw.isdecimal() for cell in cells) and column not in ("Margin", "Cost known"):
            found[column] = sum(int(cell.raw) for cell in cells)
    return found


# --- figures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_summary_is_the_sum_of_the_rows_of_its_days(browser: Client, seed: int) -> None:
    business(seed=seed)
    found = by_title(tables_of(browser, "7d")["summary"])
    for number, days in enumerate((1, 7, 30)):
        used = within(UsageRecord.objects, days)
        billed = used.exclude(billed_by=BilledBy.NOTHING)
        costed = billed.exclude(upstream_cost_micro=None)
        cost = costed.aggregate(sum=Sum("upstream_cost_micro", default=0))["sum"]
        paid = within(TopUp.objects.filter(status="credited"), days, "credited_at")
        expected = {
            "Money taken, Toman": paid.aggregate(sum=Sum("amount_micro", default=0))["sum"],
            "VAT paid on top of it, Toman": paid.aggregate(sum=Sum("vat_micro", default=0))["sum"],
            "Usage billed, Toman": used.aggregate(sum=Sum("cost_micro", default=0))["sum"],
            "Upstream cost, Toman": cost,
            "Margin, Toman": costed.aggregate(sum=Sum("cost_micro", default=0))["sum"] - cost,
        }
        assert {title: toman_of(found[title][number]) for title in expected} == expected
        assert int(found["Requests"][number].raw) == used.count()
        failed = used.filter(outcome__in=["upstream_failed", "refused", "interrupted"])
        assert int(found["Failed requests"][number].raw) == failed.count()
        assert int(found["Top-ups credited"][number].raw) == paid.count()


@pytest.mark.parametrize(("period", "days"), [("today", 1), ("7d", 7), ("30d", 30)])
def test_every_table_has_the_same_sums(browser: Client, period: str, days: int) -> None:
    business()
    tables = tables_of(browser, period)
    tables["days"] = browser.get("/admin/figures/days/", {"period": period}).context["table"]
    used = within(UsageRecord.objects, days)
    expected = {
        "Requests": used.count(),
        "Failed": used.filter(outcome__in=["upstream_failed", "refused", "interrupted"]).count(),
        "Billed, Toman": used.aggregate(sum=Sum("cost_micro", default=0))["sum"],
        "Upstream cost, Toman": used.aggregate(sum=Sum("upstream_cost_micro", default=0))["sum"],
        "Margin, Toman": used.exclude(upstream_cost_micro=None).aggregate(
            sum=Sum("cost_micro", default=0) - Sum("upstream_cost_micro", default=0)
        )["sum"],
    }
    for name in ("models", "upstreams", "customers", "days"):
        found = sums(tables[name])
        assert {column: found[column] for column in expected} == expected, name
    outcomes = sums(tables["failures"])
    for column, outcome in (
        ("Upstream failed", Outcome.UPSTREAM_FAILED),
        ("Refused by upstream", Outcome.REFUSED),
        ("Interrupted", Outcome.INTERRUPTED),
        ("Client left", Outcome.CLIENT_LEFT),
    ):
        assert outcomes[column] == used.filter(outcome=outcome).count()


def test_a_cost_that_is_not_known_is_said_and_never_taken_for_nothing(browser: Client) -> None:
    UsageRecordFactory.create(model="front/x", created_at=timezone.now())
    counting.count()
    front = browser.get("/admin/").context["front"]
    assert "known for 0% of the usage billed in these days (0 of 1 requests)" in front.warnings[0]
    titles = by_title(front.summary)
    assert [cell.text for cell in titles["Margin, Toman"]] == ["unknown"] * 3
    assert [cell.text for cell in titles["Upstream cost, Toman"]] == ["unknown"] * 3
    rows = browser.get(front.without_cost).context["cl"]
    assert rows.result_count == 1
    UsageRecordFactory.create(model="front/x", created_at=timezone.now(), upstream_cost_micro=40_000)
    counting.count()
    front = browser.get("/admin/").context["front"]
    assert "known for 50% of the usage billed in these days (1 of 2 requests)" in front.warnings[0]
    margin = by_title(front.summary)["Margin, Toman"][0]
    assert (margin.raw, margin.is_bad) == ("-0.001", True)  # 30,000 micro-Rial were billed


def test_a_known_cost_is_never_rounded_up_to_all_of_it(browser: Client) -> None:
    UsageRecordFactory.create(created_at=timezone.now(), upstream_cost_micro=1, prompt_tokens=900_000_000)
    UsageRecordFactory.create(created_at=timezone.now())
    counting.count()
    assert "99.99%" in browser.get("/admin/").context["front"].warnings[0]


def test_days_that_are_not_counted_yet_are_said(browser: Client) -> None:
    SalesProgress.objects.create(
        since=timezone.now() - timedelta(days=1), counted_until=timezone.now() - timedelta(minutes=6)
    )
    assert "is not counted yet" in browser.get("/admin/").content.decode()
    SalesProgress.objects.update(counted_until=timezone.now() - timedelta(minutes=2))
    assert "is not counted yet" not in browser.get("/admin/").content.decode()


# --- links ------------------------------------------------------------------------------------------------------


def linked(tables: dict[str, Table]) -> Iterator[tuple[str, Cell]]:
    """With what each is about: its table, its row and its column."""
    for name, table in tables.items():
        for row in table.rows:
            for column, cell in zip(table.columns, row, strict=True):
                if cell.url:
                    yield f"{name}: {row[0].raw}, {column}", cell


@pytest.mark.parametrize(
    "period",
    [pytest.param("today", marks=pytest.mark.proof), pytest.param("7d", marks=pytest.mark.proof), "30d"],
)
def test_every_figure_leads_to_its_rows(browser: Client, period: str) -> None:
    business()
    followed: dict[str, Any] = {}
    for what, cell in linked(tables_of(browser, period)):
        answer = followed.get(cell.url)
        if answer is None:
            answer = followed[cell.url] = browser.get(cell.url)
        assert answer.status_code == 200, what
        is_count = cell.raw.isdecimal() and cell.text == formats.number_text(int(cell.raw), language="en")
        if is_count and "Toman" not in what and "cl" in answer.context:
            assert answer.context["cl"].result_count == int(cell.raw), (what, cell.url)
    assert len(followed) > 15


def test_the_rows_behind_an_amount_have_its_sum(browser: Client) -> None:
    business()
    billed = 0
    for row in tables_of(browser, "30d")["models"].rows:
        if row[3].url:
            listed = browser.get(row[3].url).context["cl"].queryset
            assert listed.aggregate(sum=Sum("cost_micro"))["sum"] == toman_of(row[3])
            billed += 1
    assert billed == 3
    [review, unverified, *_holds] = tables_of(browser, "7d")["waiting"].rows
    for row in (review, unverified):
        listed = browser.get(row[2].url).context["cl"].queryset
        assert listed.aggregate(sum=Sum("amount_micro"))["sum"] == toman_of(row[2]) == 7_000 * TOMAN


def test_what_waits_is_told_with_since_when(browser: Client) -> None:
    business()
    found = by_title(tables_of(browser, "7d")["waiting"])
    assert {title: cells[0].raw for title, cells in found.items()} == {
        "Top-ups under review": "1",
        "Top-ups paid and not verified for more than ten minutes": "1",
        "Holds of running requests": "2",
        "Holds that nobody has swept in time": "1",
        "Wallets that are frozen": "0",
    }
    assert found["Holds of running requests"][1].raw == "6"
    assert found["Top-ups under review"][2].raw.startswith(str((timezone.now() - timedelta(hours=5)).year))


# --- upstreams ---------------------------------------------------------------------------------------------------


def test_upstreams_that_are_left_alone_are_shown(browser: Client) -> None:
    closed, opened, tried = UpstreamFactory.create_batch(3)
    valkey = redis.Redis.from_url(settings.REDIS_URL)
    linger = int(breakers.LINGER_SECONDS * 1000)
    try:
        valkey.set(breakers.key_of(opened.pk), "3:abc", px=linger + 40_000)
        valkey.set(breakers.key_of(tried.pk), "1:def", px=linger - 5_000)
        until = timezone.now().timestamp() + 60
        rest = Told("r1", closed.name, until, times=1, refusals=9, asked_seconds=None)
        valkey.hset(HASH, field_of((closed.pk, "big-model")), rest.encoded())
        found = by_title(tables_of(browser, "7d")["upstreams-now"])
    finally:
        valkey.delete(breakers.key_of(opened.pk), breakers.key_of(tried.pk))
        valkey.hdel(HASH, field_of((closed.pk, "big-model")))
        valkey.close()
    assert [cell.raw for cell in found[closed.name]] == ["in use", "big-model"]
    assert found[opened.name][0].text.startswith("left alone until")
    assert found[tried.name][0].text == "failed, and the next call tries it"


def test_without_valkey_the_page_says_so(browser: Client, settings: Any) -> None:
    UpstreamFactory.create()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = browser.get("/admin/")
    assert "Valkey does not answer" in answer.content.decode()


# --- tasks --------------------------------------------------------------------------------------------------------


def test_tasks_are_told_those_first_that_need_somebody(browser: Client) -> None:
    now = timezone.now()
    TaskRun.objects.all().delete()
    well, late = "proxy.count_sales", "wallet.sweep_expired_holds"
    TaskRun.objects.create(
        name=well, began_at=now, ended_at=now, succeeded_at=now, seconds=0.25, lag_seconds=1
    )
    hours_ago = now - timedelta(hours=3)
    TaskRun.objects.create(
        name=late, began_at=hours_ago, ended_at=hours_ago, succeeded_at=hours_ago, seconds=2
    )
    front = browser.get("/admin/").context["front"]
    shown = next(each for each in front.tables if each.name == "tasks")
    table = browser.get("/admin/figures/tasks/").context["table"]
    assert len(shown.rows) + shown.more == len(table.rows)
    assert (shown.rows[0][0].raw, table.rows[-1][0].raw) == (late, well)
    assert {row[0].raw for row in table.rows} == set(watch.scheduled())
    found = by_title(table)
    assert [cell.raw for cell in found[well]] == ["well", now.isoformat(), "0.250", "1.000", "0"]
    assert found[late][0].is_bad
    for cell in (*table.rows[0], *table.rows[-1]):
        assert not cell.url or browser.get(cell.url).status_code == 200


# --- who sees what -----------------------------------------------------------------------------------------------

USED = {"summary", "models", "failures", "days"}  # everybody's
SEEN = {
    "support": USED | {"waiting", "messages", "tasks"},
    "finance": USED | {"waiting", "messages", "upstreams", "customers"},
    "catalogue": USED | {"upstreams", "upstreams-now"},
    "owner": USED | {"waiting", "messages", "upstreams", "customers", "upstreams-now", "tasks"},
}
ALL_TABLES = SEEN["owner"]


@pytest.mark.parametrize("role", sorted(SEEN))
def test_a_role_sees_its_own_tables_and_no_others(role: str) -> None:
    business()
    browser = browser_of(role)
    assert set(tables_of(browser, "7d")) == SEEN[role] - {"days"}  # which pictures show
    for name in ALL_TABLES:
        for address in (f"/admin/figures/{name}/", f"/admin/figures/{name}.csv"):
            assert browser.get(address).status_code == (200 if name in SEEN[role] else 404), address


@pytest.mark.parametrize("role", sorted(SEEN))
def test_every_link_that_a_role_sees_opens_for_it(role: str) -> None:
    business()
    browser = browser_of(role)
    for address in {cell.url for _what, cell in linked(tables_of(browser, "30d"))}:
        assert browser.get(address).status_code == 200, address


def test_support_sees_no_business_and_catalogue_nobodys_payments() -> None:
    business()
    words = {role: browser_of(role).get("/admin/?period=30d").content.decode() for role in SEEN}
    for said in ("Margin", "Usage billed", "Upstream cost", "Money taken"):
        assert said not in words["support"]
        assert said in words["finance"]
        assert said in words["owner"]
    assert "Margin" in words["catalogue"]
    for said in ("Money taken", "By customer", "Top-ups", "Holds"):
        assert said not in words["catalogue"]


def test_the_tables_are_closed_to_whoever_is_no_admin() -> None:
    customer = Client()
    customer.force_login(UserFactory.create())
    for address in ("/admin/", "/admin/figures/models/", "/admin/figures/models.csv"):
        assert customer.get(address).status_code == 302


# --- pages and files ---------------------------------------------------------------------------------------------


def test_a_fresh_installation_says_that_nothing_has_been_used(browser: Client) -> None:
    for period in ("today", "7d", "30d", "nonsense"):
        answer = browser.get("/admin/", {"period": period})
        assert answer.status_code == 200
        assert "Nothing has been used yet" in answer.content.decode()
    for name in ALL_TABLES:
        assert browser.get(f"/admin/figures/{name}/").status_code == 200
        assert browser.get(f"/admin/figures/{name}.csv").status_code == 200


def test_a_file_has_the_figures_of_the_page(browser: Client) -> None:
    business()
    for name, table in tables_of(browser, "30d").items():
        answer = browser.get(f"/admin/figures/{name}.csv", {"period": "30d"})
        assert answer["Content-Disposition"] == f'attachment; filename="hamiran-{name}-30d.csv"'
        lines = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert lines[0] == list(table.columns)
        if name not in ("upstreams-now", "waiting", "tasks"):  # which tell of the moment
            assert lines[1:] == [[cell.raw for cell in row] for row in table.rows]


def test_customers_beyond_the_first_are_on_a_page_of_their_own(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers = business()
    monkeypatch.setattr(page, "ROWS_SHOWN", 1)
    monkeypatch.setattr("config.admin.front.ROWS_PER_PAGE", 3)
    table = tables_of(browser, "30d")["customers"]
    assert (len(table.rows), table.more) == (1, len(customers) - 1)
    pages = [browser.get("/admin/figures/customers/", {"period": "30d", "p": p}) for p in (1, 2)]
    assert [len(each.context["table"].rows) for each in pages] == [3, 1]
    assert [each.content.count(b'<th scope="row">') for each in pages] == [3, 1]


def test_the_page_is_persian_where_its_reader_is(browser: Client) -> None:
    business()
    browser.cookies["hamiran_language"] = "fa"
    written = browser.get("/admin/?period=30d").content.decode()
    front = written.partition('<div class="front">')[2].partition('<div id="content-main">')[0]
    shown = unescape(re.sub(r"<[^>]*>", " ", front))
    assert "۱۴۰" in shown
    assert not re.search(r"(?<![\w/-])[0-9]{2,}", shown), "figures are written in Persian digits"


def test_links_name_the_days_that_they_are_about(browser: Client) -> None:
    business()
    cell = by_title(tables_of(browser, "7d")["summary"])["Requests"][1]
    query = parse_qs(urlsplit(cell.url).query)
    assert query["created_at__gte"] == [spans.span("7d", now=timezone.now()).since.isoformat()]
    assert query["created_at__lt"] == [SalesProgress.objects.get().counted_until.isoformat()]
