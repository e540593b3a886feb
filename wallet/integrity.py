"""What must always be true of the money, as SQL that finds every row where it is not.

A check is the invariant in words, and a query that returns a row for each violation or a function that yields them.
`proxy.usage.integrity` has those between the journal and usage; `manage.py check_ledger` runs them all in one
snapshot, beside a live server.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

from wallet.credits.models import Adjustment, PromoCode, PromoRedemption, WalletAlert
from wallet.ledger.models import Budget, BudgetMark, Hold, JournalEntry, Wallet
from wallet.payments.invoice_models import BuyerDetails, Invoice, InvoiceCounter, SellerDetails, VATRate
from wallet.payments.models import SandboxPayment, TopUp

DETAILS_MAX = 20
Row = dict[str, Any]
Check = tuple[str, str | Callable[[], Iterable[Row]]]

GUARDED_MODELS: tuple[type[Model], ...] = (
    Wallet,
    Budget,
    BudgetMark,
    Hold,
    JournalEntry,
    TopUp,
    SandboxPayment,
    VATRate,
    SellerDetails,
    BuyerDetails,
    InvoiceCounter,
    Invoice,
    Adjustment,
    PromoCode,
    PromoRedemption,
    WalletAlert,
)
TRIGGERS: tuple[tuple[type[Model], str], ...] = (
    (JournalEntry, "journal_sums_to_zero"),
    (JournalEntry, "journal_append_only"),
    (Invoice, "invoice_append_only"),
    (VATRate, "vat_rate_write_once"),
    (Adjustment, "adjustment_fixed"),
    (PromoRedemption, "redemption_append_only"),
)


def _values(rows: Iterable[tuple[str, str]]) -> str:
    """Rows for VALUES, made of names from our own code."""
    return ", ".join(f"('{one}', '{other}')" for one, other in rows)


CONSTRAINTS_MISSING = f"""
SELECT wanted.table_name, wanted.name FROM (VALUES {
    _values(
        (model._meta.db_table, constraint.name)
        for model in GUARDED_MODELS
        for constraint in model._meta.constraints
    )
}) AS wanted (table_name, name)
WHERE NOT EXISTS (
    SELECT FROM pg_constraint c
    WHERE c.conname = wanted.name AND c.conrelid = wanted.table_name::regclass AND c.convalidated
      AND coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true)  -- a column that PostgreSQL 18 brought
)
"""  # noqa: S608 - names from our own code
TRIGGERS_MISSING = f"""
SELECT wanted.table_name, wanted.name
FROM (VALUES {_values((model._meta.db_table, name) for model, name in TRIGGERS)}) AS wanted (table_name, name)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger t
    WHERE t.tgname = wanted.name AND t.tgrelid = wanted.table_name::regclass AND t.tgenabled IN ('O', 'A')
)
"""  # noqa: S608 - likewise

# What the journal says about each top-up: for the wallet, for the state, and through the gateway.
BOOKED_TOPUPS = """
    SELECT transaction_id, min(wallet_id) AS wallet_id, count(*) FILTER (WHERE account = 'wallet') AS entries,
           coalesce(sum(amount_micro) FILTER (WHERE account = 'wallet'), 0) AS net_micro,
           coalesce(sum(amount_micro) FILTER (WHERE account = 'vat'), 0) AS vat_micro,
           -coalesce(sum(amount_micro) FILTER (WHERE account = 'gateway'), 0) AS paid_micro
    FROM wallet_journalentry WHERE kind = 'topup' GROUP BY transaction_id
"""

# A hold as each budget that it counts towards sees it.
COUNTED_HOLDS = """
    SELECT budget_id, wallet_id, amount_micro, created_at FROM wallet_hold WHERE budget_id IS NOT NULL
    UNION ALL
    SELECT shared_budget_id, wallet_id, amount_micro, created_at FROM wallet_hold WHERE shared_budget_id IS NOT NULL
"""

CHECKS: list[Check] = [
    (
        "every journal transaction sums to zero",
        """
        SELECT transaction_id, sum(amount_micro) AS sum_micro FROM wallet_journalentry
        GROUP BY transaction_id HAVING sum(amount_micro) <> 0
        """,
    ),
    (
        "a wallet's posted balance is the sum of its entries",
        """
        SELECT coalesce(w.user_id, j.wallet_id) AS wallet_id, w.posted_micro, j.entries_micro
        FROM wallet_wallet w FULL JOIN (
            SELECT wallet_id, sum(amount_micro) AS entries_micro FROM wallet_journalentry
            WHERE wallet_id IS NOT NULL GROUP BY wallet_id
        ) j ON j.wallet_id = w.user_id
        WHERE w.user_id IS NULL OR w.posted_micro <> coalesce(j.entries_micro, 0)
        """,
    ),
    (
        "each entry's balance is the balance before it plus its amount",
        """
        SELECT wallet_id, id AS entry_id, balance_before_micro, amount_micro, balance_micro FROM (
            SELECT *, lag(balance_micro, 1, 0::bigint) OVER (PARTITION BY wallet_id ORDER BY id) AS balance_before_micro
            FROM wallet_journalentry WHERE wallet_id IS NOT NULL
        ) j WHERE balance_before_micro + amount_micro IS DISTINCT FROM balance_micro
        """,
    ),
    (
        "a wallet's held amount is the sum of its open holds",
        """
        SELECT coalesce(w.user_id, h.wallet_id) AS wallet_id, w.held_micro, h.holds_micro
        FROM wallet_wallet w FULL JOIN (
            SELECT wallet_id, sum(amount_micro) AS holds_micro FROM wallet_hold GROUP BY wallet_id
        ) h ON h.wallet_id = w.user_id
        WHERE w.user_id IS NULL OR w.held_micro <> coalesce(h.holds_micro, 0)
        """,
    ),
    (
        "no hold is open whose money was captured",
        """
        SELECT h.id AS hold_id, h.wallet_id, h.amount_micro FROM wallet_hold h
        JOIN wallet_journalentry j ON j.transaction_id = h.id AND j.account = 'wallet'
        """,
    ),
    (
        "nothing is held or spent that is not there: 0 ≤ held ≤ posted, holds are not negative",
        """
        SELECT user_id AS wallet_id, posted_micro, held_micro, NULL AS hold_id FROM wallet_wallet
        WHERE held_micro < 0 OR held_micro > posted_micro
        UNION ALL
        SELECT wallet_id, NULL, amount_micro, id FROM wallet_hold WHERE amount_micro < 0
        """,
    ),
    (
        "a budget's held amount is the sum of the open holds that name it, all on its wallet",
        f"""
        SELECT coalesce(b.wallet_id, h.wallet_id) AS wallet_id, b.id AS budget_id, b.held_micro, h.holds_micro
        FROM wallet_budget b FULL JOIN (
            SELECT budget_id, wallet_id, sum(amount_micro) AS holds_micro FROM ({COUNTED_HOLDS}) counted
            GROUP BY budget_id, wallet_id
        ) h ON h.budget_id = b.id AND h.wallet_id = b.wallet_id
        WHERE b.id IS NULL OR b.held_micro <> coalesce(h.holds_micro, 0)
        """,  # noqa: S608 - text from our own code
    ),
    (
        "no budget of a wallet has spent more than it was charged for usage, and none less than nothing",
        """
        SELECT b.wallet_id, b.spent_micro, j.charged_micro FROM (
            SELECT wallet_id, max(spent_micro) AS spent_micro, min(spent_micro - spent_before_micro) AS least_micro
            FROM wallet_budget GROUP BY wallet_id
        ) b LEFT JOIN (
            SELECT wallet_id, -sum(amount_micro) AS charged_micro FROM wallet_journalentry
            WHERE wallet_id IN (SELECT wallet_id FROM wallet_budget) AND kind = 'completion' GROUP BY wallet_id
        ) j USING (wallet_id)
        WHERE b.spent_micro > coalesce(j.charged_micro, 0) OR b.least_micro < 0
        """,
    ),
    (
        "every credited top-up is in the journal once with its amount and its VAT, and no other top-up is",
        f"""
        SELECT coalesce(t.id, j.transaction_id) AS topup_id, t.status, t.user_id, t.amount_micro, t.vat_micro,
               j.wallet_id, j.net_micro AS booked_micro, j.vat_micro AS booked_vat_micro, j.paid_micro, j.entries
        FROM (SELECT * FROM wallet_topup) t FULL JOIN ({BOOKED_TOPUPS}) j ON j.transaction_id = t.id
        WHERE (t.id IS NULL AND j.transaction_id IS NOT NULL)
           OR (t.status = 'credited' AND (j.entries IS DISTINCT FROM 1 OR j.net_micro <> t.amount_micro
                                          OR j.vat_micro <> t.vat_micro
                                          OR j.paid_micro <> t.amount_micro + t.vat_micro
                                          OR j.wallet_id <> t.user_id))
           OR (t.status <> 'credited' AND j.transaction_id IS NOT NULL)
        """,  # noqa: S608 - text from our own code
    ),
    (
        "no payment of a gateway is credited to two top-ups",
        """
        SELECT gateway, ref_id, count(*) AS topups FROM wallet_topup WHERE ref_id IS NOT NULL
        GROUP BY gateway, ref_id HAVING count(*) > 1
        """,
    ),
    (
        "every credited top-up in the journal has one invoice with its sums, and there is no other invoice",
        f"""
        SELECT coalesce(i.topup_id, j.transaction_id) AS topup_id, i.number, i.net_micro, i.vat_micro, i.total_micro,
               j.net_micro AS booked_micro, j.vat_micro AS booked_vat_micro, j.paid_micro
        FROM wallet_invoice i FULL JOIN ({BOOKED_TOPUPS}) j ON j.transaction_id = i.topup_id
        WHERE i.topup_id IS NULL OR j.transaction_id IS NULL
           OR i.net_micro <> j.net_micro OR i.vat_micro <> j.vat_micro OR i.total_micro <> j.paid_micro
           OR i.vat_micro <> floor((i.net_micro::numeric * i.vat_basis_points + 5000000000) / 10000000000) * 1000000
        """,  # noqa: S608 - likewise
    ),
    (
        "the numbers of invoices run from 1 to the last one given out, without a gap",
        """
        SELECT * FROM (
            SELECT c.last_number, (SELECT min(number) FROM wallet_invoice) AS first,
                   (SELECT max(number) FROM wallet_invoice) AS last,
                   (SELECT count(*) FROM wallet_invoice) AS invoices
            FROM (VALUES (1)) one (id) LEFT JOIN wallet_invoicecounter c ON c.id = one.id
        ) n WHERE last_number IS DISTINCT FROM invoices OR invoices > 0 AND (first <> 1 OR last <> invoices)
        """,
    ),
    (
        "every booked adjustment is in the journal with its amount, and nothing else is booked as one",
        """
        SELECT coalesce(a.id, j.transaction_id) AS adjustment_id, a.state, a.wallet_id, a.amount_micro,
               j.wallet_id AS booked_wallet_id, j.amount_micro AS booked_micro
        FROM (SELECT * FROM wallet_adjustment WHERE state = 'booked') a FULL JOIN (
            SELECT * FROM wallet_journalentry
            WHERE account = 'wallet' AND kind IN ('refund', 'correction', 'gift')
        ) j ON j.transaction_id = a.id
        WHERE a.id IS NULL OR j.id IS NULL
           OR j.wallet_id <> a.wallet_id OR j.amount_micro <> a.amount_micro OR j.kind <> a.kind
        """,
    ),
    (
        "every use of a promo code is in the journal with its amount, and each code counts its uses",
        """
        SELECT coalesce(r.id, j.transaction_id) AS redemption_id, NULL::bigint AS promo_code_id, r.wallet_id,
               r.amount_micro, j.wallet_id AS booked_wallet_id, j.amount_micro AS booked_micro
        FROM wallet_promoredemption r FULL JOIN (
            SELECT * FROM wallet_journalentry WHERE account = 'wallet' AND kind = 'promo'
        ) j ON j.transaction_id = r.id
        WHERE r.id IS NULL OR j.id IS NULL OR j.wallet_id <> r.wallet_id OR j.amount_micro <> r.amount_micro
        UNION ALL
        SELECT NULL, p.id, NULL, NULL, NULL, NULL FROM wallet_promocode p
        WHERE p.uses <> (SELECT count(*) FROM wallet_promoredemption r WHERE r.promo_code_id = p.id)
        """,
    ),
    ("the database's own rules about money are in force", CONSTRAINTS_MISSING),
    ("the journal's triggers are in force", TRIGGERS_MISSING),
]
WARNINGS: list[Check] = [
    (
        "no hold outlives its expiry by more than a few minutes (is the Celery worker running?)",
        """
        SELECT id AS hold_id, wallet_id, amount_micro, expires_at FROM wallet_hold
        WHERE expires_at < now() - interval '5 minutes' ORDER BY expires_at
        """,
    ),
    (
        "what a budget holds from before its period is the sum of its open holds that were placed before it"
        " (rights itself with the next period)",
        f"""
        SELECT b.id AS budget_id, b.wallet_id, b.held_before_micro, h.holds_micro
        FROM wallet_budget b LEFT JOIN (
            SELECT b.id, sum(c.amount_micro) AS holds_micro
            FROM ({COUNTED_HOLDS}) c JOIN wallet_budget b ON b.id = c.budget_id
            WHERE c.created_at < b.starts_at GROUP BY b.id
        ) h ON h.id = b.id
        WHERE b.held_before_micro <> coalesce(h.holds_micro, 0)
        """,  # noqa: S608 - likewise
    ),
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation: the invariant in words, and the columns that its query returned."""

    invariant: str
    detail: str


@contextmanager
def snapshot() -> Iterator[None]:
    """One snapshot of the database for the length of a block, in which nothing can be written. Opens a transaction."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def run(checks: Iterable[Check]) -> list[Finding]:
    """The violations that the checks find, at most `DETAILS_MAX` per check, then a line that says so."""
    return [Finding(invariant, detail) for invariant, query in checks for detail in _details(query)]


def wallets_of(checks: Iterable[Check]) -> Iterator[tuple[str, int | None]]:
    """Each violation's invariant and the wallet that it names, if it names one (`wallet_id` or `user_id`)."""
    for invariant, query in checks:
        for row in _violations(query, limit=None):
            yield invariant, row.get("wallet_id") or row.get("user_id")


def first(query: str) -> str:
    """For a LIMIT behind it. Planned as if all violations were wanted: in sound books none is found, and a plan that
    counts on some of them soon looks up each row of the journal by itself."""
    return f"WITH violations AS MATERIALIZED ({query}) SELECT * FROM violations"  # noqa: S608 - our own checks


def _violations(query: str | Callable[[], Iterable[Row]], *, limit: int | None) -> list[Row]:
    if not isinstance(query, str):
        return list(itertools.islice(query(), limit))
    with connection.cursor() as cursor:
        cursor.execute(f"{first(query)} LIMIT %s", [limit])
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _details(query: str | Callable[[], Iterable[Row]]) -> Iterator[str]:
    rows = _violations(query, limit=DETAILS_MAX + 1)
    for row in rows[:DETAILS_MAX]:
        yield ", ".join(f"{name}={value}" for name, value in row.items() if value is not None)
    if len(rows) > DETAILS_MAX:
        yield "… and more"
