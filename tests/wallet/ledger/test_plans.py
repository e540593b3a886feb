"""How PostgreSQL finds rows for the ledger must not depend on statistics, which a new database lacks."""

import pytest
from django.db import connection

from wallet.ledger import authorise_sql, extend_sql, writer

pytestmark = pytest.mark.django_db


def plan(sql: str, **parameters: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # tables of tests are too small for an index to pay
        cursor.execute(f"EXPLAIN {sql}", parameters)
        return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.parametrize(
    "sql",
    [
        *(writer.settle_sql(budgeted=budgeted) for budgeted in (True, False)),
        *(each for module in (authorise_sql, extend_sql) for each in (module.PLAIN, module.WITH_BUDGETS)),
    ],
)
def test_a_batch_finds_its_wallets_by_their_ids(sql: str) -> None:
    """Joined with the batch, they were compared with each of its items where the planner expected one wallet."""
    found = plan(sql, items="[]", kind="completion")
    assert "Index Cond: (user_id = ANY (" in found
    assert "Semi Join" not in found.split("CTE freed")[0].split("CTE budgets")[0].split("CTE held")[0]


def test_the_entries_of_a_wallet_are_found_by_the_index_of_its_statement() -> None:
    assert "journal_wallet_statement" in plan("SELECT FROM wallet_journalentry WHERE wallet_id = 1")
    counted = "(SELECT count(*) FROM wallet_journalentry j WHERE j.wallet_id = w.user_id)"
    assert "journal_wallet_statement" in plan(f"SELECT {counted} FROM wallet_wallet w")
