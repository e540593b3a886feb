import csv
import io
import re
from collections.abc import Iterable
from datetime import datetime
from html import unescape
from zoneinfo import ZoneInfo

import httpx
import psutil
import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from tests.factories import WalletFactory
from tests.live import web_process
from wallet.credits import gifts
from wallet.ledger.models import JournalEntry, Wallet
from wallet.statements import lines as statements
from wallet.statements.form import StatementForm


@pytest.mark.django_db
def test_pages_follow_each_other_without_gap_or_repeat_and_end() -> None:
    wallet = WalletFactory.create()
    for amount in range(1, 8):
        gifts.give(wallet_id=wallet.pk, amount_micro=amount)
        gifts.give(wallet_id=WalletFactory.create().pk, amount_micro=amount)
    amounts, sizes, cursor = [], [], None
    while True:
        page = statements.page(user_id=wallet.pk, before=cursor, size=3)
        amounts += [row.amount_micro for row in page.rows]
        sizes.append(len(page.rows))
        cursor = page.older
        if cursor is None:
            break
    assert amounts == [7, 6, 5, 4, 3, 2, 1]
    assert sizes == [3, 3, 1]


@pytest.mark.django_db
def test_a_last_page_that_is_full_knows_that_it_is_the_last() -> None:
    wallet = WalletFactory.create()
    for _ in range(3):
        gifts.give(wallet_id=wallet.pk, amount_micro=1)
    assert statements.page(user_id=wallet.pk, size=3).older is None


@pytest.mark.django_db
def test_each_row_has_the_balance_after_it() -> None:
    wallet = WalletFactory.create()
    for amount in (5, 7):
        gifts.give(wallet_id=wallet.pk, amount_micro=amount)
    rows = statements.page(user_id=wallet.pk).rows
    assert [(row.amount_micro, row.balance_micro, row.kind) for row in rows] == [
        (7, 12, "operator_credit"),
        (5, 5, "operator_credit"),
    ]


TEHRAN = ZoneInfo("Asia/Tehran")
WORDING = statements.CSVWording(
    header=("Time", "Jalali date", "What for", "Reference", "Amount (Toman)", "Balance after (Toman)"),
    kinds={kind.value: str(kind.value) for kind in JournalEntry.Kind},
)
# One statement, as the ledger's own are: each transaction sums to zero, the wallet agrees with its last entry.
SPEND = """
WITH moved AS (
    UPDATE wallet_wallet SET posted_micro = posted_micro - %(rows)s * %(cost)s WHERE user_id = %(wallet)s
    RETURNING user_id, posted_micro + %(rows)s * %(cost)s AS before_micro
), asked AS MATERIALIZED (SELECT n, gen_random_uuid() AS id FROM generate_series(1, %(rows)s) n)
INSERT INTO wallet_journalentry (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
(SELECT id, 'completion', 'wallet', user_id, -%(cost)s, before_micro - n * %(cost)s, %(at)s + n * interval '1 second'
 FROM asked, moved ORDER BY n)
UNION ALL SELECT id, 'completion', 'revenue', NULL, %(cost)s, NULL, %(at)s FROM asked, moved
"""


def spend(wallet: Wallet, *, rows: int, cost: int, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SPEND, {"wallet": wallet.pk, "rows": rows, "cost": cost, "at": at})
        cursor.execute("ANALYZE wallet_journalentry")  # what autovacuum does after so many rows


@pytest.fixture
def busy_wallet(db: None) -> Wallet:
    """A gift and, on the last day of 1404 and the first of 1405, three requests each."""
    wallet = WalletFactory.create(credit_micro=10**9)
    spend(wallet, rows=3, cost=42_100, at=datetime(2026, 3, 20, 23, 59, 50, tzinfo=TEHRAN))
    spend(wallet, rows=3, cost=10**7, at=datetime(2026, 3, 21, 0, 0, 0, tzinfo=TEHRAN))
    return wallet


def chosen(wallet: Wallet, **typed: str) -> list[int]:
    form = StatementForm(typed)
    assert form.is_valid(), form.errors
    return [row.amount_micro for row in statements.page(user_id=wallet.pk, wanted=form.wanted()).rows]


@pytest.mark.django_db
def test_a_kind_and_whole_days_by_either_calendar_can_be_chosen(busy_wallet: Wallet) -> None:
    assert chosen(busy_wallet, kind="operator_credit") == [10**9]
    assert chosen(busy_wallet, kind="topup") == []
    old_year, new_year = [-42_100] * 3, [-(10**7)] * 3
    assert chosen(busy_wallet, until="1404/12/29") == old_year
    assert chosen(busy_wallet, since="۱۴۰۵/۱/۱", kind="completion") == new_year
    assert chosen(busy_wallet, since="2026-03-20", until="2026-03-20") == old_year
    assert chosen(busy_wallet, since="2026-03-20", until="1405-01-01") == new_year + old_year


@pytest.mark.django_db
@pytest.mark.parametrize(
    "typed",
    ["x", "1405", "1405/13/01", "1404/12/31", "2026-02-30", "0001-01-01", "9999-12-31", "1/2/3", "\0"],
)
def test_what_is_no_day_is_pointed_out(client: Client, busy_wallet: Wallet, typed: str) -> None:
    client.force_login(busy_wallet.user)
    client.cookies["hamiran_language"] = "en"
    for address in ("wallet:statement", "wallet:statement_csv"):
        response = client.get(reverse(address), {"since": typed})
        assert response.status_code == 400


@pytest.mark.django_db
def test_the_page_keeps_what_was_chosen_from_page_to_page(
    client: Client, busy_wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(busy_wallet.user)
    client.cookies["hamiran_language"] = "en"
    spend(busy_wallet, rows=60, cost=1, at=datetime(2026, 3, 22, 0, 0, 0, tzinfo=TEHRAN))
    page = client.get(reverse("wallet:statement"), {"kind": "completion", "since": "1405/01/01"}).text
    found = re.search(r'href="([^"]*before=[0-9]+)"', page)
    assert found
    older = client.get(unescape(found[1])).text
    assert older.count("<tr>") == 1 + 60 + 3 - 50
    assert 'value="1405/01/01"' in older
    assert (
        "Nothing in the statement matches" in client.get(reverse("wallet:statement"), {"kind": "topup"}).text
    )


def parsed(chunks: Iterable[bytes]) -> list[list[str]]:
    content = b"".join(chunks).decode()
    assert content.startswith("\ufeff")
    return list(csv.reader(io.StringIO(content.removeprefix("\ufeff"))))


@pytest.mark.django_db
def test_the_csv_file_is_exact(busy_wallet: Wallet) -> None:
    wanted = statements.Filter(until=datetime(2026, 3, 21, 0, 0, 2, tzinfo=TEHRAN))
    rows = parsed(statements.csv_chunks(user_id=busy_wallet.pk, wanted=wanted, wording=WORDING))
    assert tuple(rows[0]) == WORDING.header
    assert [row[:3] + row[4:] for row in rows[1:3]] == [
        ["2026-03-21T00:00:01+03:30", "1405/01/01", "completion", "-1", "98.98737"],
        ["2026-03-20T23:59:53+03:30", "1404/12/29", "completion", "-0.00421", "99.98737"],
    ]
    assert len(rows) == 5


@pytest.mark.django_db
def test_the_csv_file_has_every_row_once_across_its_pieces(
    busy_wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "CSV_BATCH", 2)
    rows = parsed(
        statements.csv_chunks(user_id=busy_wallet.pk, wanted=statements.EVERYTHING, wording=WORDING)
    )
    assert len(rows) == 8
    assert len({row[3] for row in rows}) == 8


@pytest.mark.django_db
def test_memory_stays_flat_however_long_the_statement() -> None:
    wallet = WalletFactory.create(credit_micro=10**9)
    spend(wallet, rows=100_000, cost=1_234, at=datetime(2026, 1, 1, tzinfo=TEHRAN))
    process = psutil.Process()
    before = peak = process.memory_info().rss
    lines = size = 0
    for chunk in statements.csv_chunks(user_id=wallet.pk, wanted=statements.EVERYTHING, wording=WORDING):
        lines += chunk.count(b"\n")
        size += len(chunk)
        peak = max(peak, process.memory_info().rss)
    assert lines == 1 + 100_000 + 1
    assert size > 7_500_000
    assert peak - before < 7_500_000  # less than the file, let alone its rows


def test_the_file_comes_from_a_real_server_in_the_readers_language(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10**9)
    spend(wallet, rows=5_000, cost=10**4, at=datetime(2026, 1, 1, tzinfo=TEHRAN))
    browser = Client()
    browser.force_login(wallet.user)
    cookies = {"hamiran_language": "en", "sessionid": browser.cookies["sessionid"].value}
    with (
        web_process() as web,
        httpx.stream("GET", f"{web.url}/wallet/statement.csv", cookies=cookies) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert "attachment" in response.headers["content-disposition"]
        assert "content-length" not in response.headers
        rows = parsed(response.iter_raw())
        assert "consume synchronous" not in web.log
    assert tuple(rows[0]) == WORDING.header
    assert len(rows) == 5_002
    assert rows[1][2] == "usage"
