"""What must be true of a closed hour and a closed day, as SQL that finds the rows where it is not.

Parameters: `since` and `until`; `apart`, for what is not written at the same moment; `rolled`, up to when days by end
user are summed; `zone`. Where a clock has jumped, an hour lacks rows that belong to its others: what seems to be wrong
within the hour is looked up once more, by its index.
"""

from proxy.usage import rollups
from proxy.usage.health.counting import ANSWERED, FAILED
from proxy.usage.sales import counting as sales
from proxy.usage.sales.models import CustomerSales, RouteSales

FIGURES = rollups.FIGURES
OF_HOUR = "created_at >= %(since)s AND created_at < %(until)s"
NEAR = "created_at >= %(since)s - %(apart)s AND created_at < %(until)s + %(apart)s"
DIFFERENT = " OR ".join(f"raw.{name} IS DISTINCT FROM rolled.{name}" for name in FIGURES.split(", "))
DAY = "date_trunc('day', %(since)s::timestamptz, %(zone)s)"

NEXT_DAY = f"{DAY} + interval '1 day'"


def _sold(kind: type[RouteSales] | type[CustomerSales], said: str) -> str:
    groups = sales.TABLES[kind]
    different = " OR ".join(f"raw.{name} IS DISTINCT FROM sold.{name}" for name in sales.SUMS.split(", "))
    return f"""
        WITH {sales.COSTED.format(since=DAY, until=NEXT_DAY)}
        SELECT {said}, raw.requests, sold.requests AS sold_requests, raw.billed_micro,
            sold.billed_micro AS sold_billed_micro, raw.cost_micro, sold.cost_micro AS sold_cost_micro
        FROM (SELECT {groups}, {sales.COUNTED} FROM costed GROUP BY {groups}) raw
        FULL JOIN (SELECT * FROM {kind._meta.db_table} WHERE period = 'day' AND starts_at = {DAY}) sold
        USING ({groups}) WHERE {different}
        """  # noqa: S608 - put together from constants


SUMS = f"""
SELECT count(*), coalesce(sum(cost_micro), 0), coalesce(sum(upstream_cost_micro), 0),
    coalesce(sum(upstream_cost_nanodollars), 0)
FROM proxy_usagerecord WHERE {OF_HOUR}
"""  # noqa: S608 - put together from constants
BOOKED = f"""
SELECT coalesce(-sum(amount_micro), 0) FROM wallet_journalentry
WHERE account = 'wallet' AND kind = 'completion' AND {OF_HOUR}
"""  # noqa: S608 - likewise

HOURLY: list[tuple[str, str]] = [
    (
        "every charged usage record is in the journal with its cost, on its user's wallet",
        f"""
        SELECT u.id, u.user_id, u.cost_micro, j.wallet_id, j.amount_micro
        FROM (SELECT * FROM proxy_usagerecord WHERE {OF_HOUR} AND cost_micro <> 0) u
        LEFT JOIN (
            SELECT * FROM wallet_journalentry WHERE account = 'wallet' AND kind = 'completion' AND {NEAR}
        ) j ON j.transaction_id = u.id
        WHERE (j.id IS NULL OR j.amount_micro <> -u.cost_micro OR j.wallet_id <> u.user_id) AND NOT EXISTS (
            SELECT FROM wallet_journalentry b WHERE b.transaction_id = u.id AND b.account = 'wallet'
                AND b.kind = 'completion' AND b.amount_micro = -u.cost_micro AND b.wallet_id = u.user_id
        )
        """,  # noqa: S608 - text from our own code
    ),
    (
        "every completion in the journal has its usage record",
        f"""
        SELECT j.transaction_id, j.wallet_id, j.amount_micro, u.cost_micro
        FROM (
            SELECT * FROM wallet_journalentry WHERE account = 'wallet' AND kind = 'completion' AND {OF_HOUR}
        ) j LEFT JOIN (SELECT * FROM proxy_usagerecord WHERE {NEAR}) u ON u.id = j.transaction_id
        WHERE (u.id IS NULL OR u.cost_micro <> -j.amount_micro) AND NOT EXISTS (
            SELECT FROM proxy_usagerecord r WHERE r.id = j.transaction_id AND r.cost_micro = -j.amount_micro
        )
        """,  # noqa: S608 - text from our own code
    ),
    (
        "every journal transaction sums to zero",
        f"""
        SELECT transaction_id, max(wallet_id) AS wallet_id, sum(amount_micro) AS sum_micro FROM wallet_journalentry
        WHERE {OF_HOUR} GROUP BY transaction_id HAVING sum(amount_micro) <> 0
        """,  # noqa: S608 - text from our own code
    ),
    (
        "each entry's balance is the balance before it plus its amount",
        f"""
        SELECT wallet_id, id AS entry_id, amount_micro, balance_micro FROM (
            SELECT *, lag(balance_micro) OVER (PARTITION BY wallet_id ORDER BY id) AS before_micro
            FROM wallet_journalentry WHERE wallet_id IS NOT NULL AND {OF_HOUR}
        ) j WHERE before_micro + amount_micro IS DISTINCT FROM balance_micro AND coalesce((
            SELECT balance_micro FROM wallet_journalentry b
            WHERE b.wallet_id = j.wallet_id AND b.id < j.id ORDER BY b.id DESC LIMIT 1
        ), 0) + amount_micro <> balance_micro
        """,  # noqa: S608 - text from our own code
    ),
    (
        "the hour's roll-ups are the sums of its records",
        f"""
        SELECT key_id, model, endpoint, raw.requests, rolled.requests AS rolled_requests, raw.cost_micro,
            rolled.cost_micro AS rolled_cost_micro
        FROM (
            SELECT key_id, model, endpoint, {rollups.COUNTED} FROM proxy_usagerecord
            WHERE {OF_HOUR} GROUP BY key_id, model, endpoint
        ) raw FULL JOIN (
            SELECT * FROM proxy_rollup WHERE period = 'hour' AND starts_at = %(since)s
        ) rolled USING (key_id, model, endpoint)
        WHERE {DIFFERENT}
        """,  # noqa: S608 - text from our own code
    ),
    (
        "the hour's count of good and bad answers is that of its records",
        f"""
        SELECT model, raw.answered, raw.failed, counted.answered AS counted_answered, counted.failed AS counted_failed
        FROM (
            SELECT model, count(*) FILTER (WHERE {ANSWERED}) AS answered, count(*) FILTER (WHERE {FAILED}) AS failed
            FROM proxy_usagerecord WHERE {OF_HOUR} AND ({ANSWERED} OR {FAILED}) GROUP BY model
        ) raw FULL JOIN (
            SELECT * FROM proxy_modelhealth WHERE period = 'hour' AND starts_at = %(since)s
        ) counted USING (model)
        WHERE raw.answered IS DISTINCT FROM counted.answered OR raw.failed IS DISTINCT FROM counted.failed
        """,  # noqa: S608 - text from our own code
    ),
    (
        "what an upstream charges is known in one currency",
        f"""
        SELECT id, user_id AS customer, upstream_cost_micro, upstream_cost_nanodollars FROM proxy_usagerecord
        WHERE {OF_HOUR} AND upstream_cost_micro IS NOT NULL AND upstream_cost_nanodollars IS NOT NULL
        """,  # noqa: S608 - text from our own code
    ),
]
DAILY: list[tuple[str, str]] = [
    (
        "the day's roll-ups are the sums of its hours",
        f"""
        SELECT key_id, model, endpoint, raw.requests, rolled.requests AS rolled_requests
        FROM (
            SELECT key_id, model, endpoint,
                {", ".join(f"sum({name}) AS {name}" for name in FIGURES.split(", "))}
            FROM proxy_rollup
            WHERE period = 'hour' AND starts_at >= {DAY} AND starts_at < {NEXT_DAY}
            GROUP BY key_id, model, endpoint
        ) raw FULL JOIN (
            SELECT * FROM proxy_rollup WHERE period = 'day' AND starts_at = {DAY}
        ) rolled USING (key_id, model, endpoint)
        WHERE {DIFFERENT}
        """,  # noqa: S608 - text from our own code
    ),
    (
        "the day's roll-ups by end user are the sums of its records",
        f"""
        SELECT key_id, model, endpoint, end_user, raw.requests, rolled.requests AS rolled_requests
        FROM (
            SELECT end_user, key_id, model, endpoint, {rollups.COUNTED} FROM proxy_usagerecord
            WHERE end_user IS NOT NULL AND created_at >= {DAY} AND created_at < {NEXT_DAY}
              AND created_at < %(rolled)s
            GROUP BY end_user, key_id, model, endpoint
        ) raw FULL JOIN (
            SELECT * FROM proxy_enduserrollup WHERE starts_at = {DAY}
        ) rolled USING (end_user, key_id, model, endpoint)
        WHERE {DIFFERENT}
        """,  # noqa: S608 - text from our own code
    ),
    (
        "the day's sales by model and upstream are the sums of its records, with what upstreams charge",
        _sold(RouteSales, "model, upstream_id"),
    ),
    (
        "the day's sales by customer are the sums of its records, with what upstreams charge",
        _sold(CustomerSales, "user_id AS customer"),
    ),
    (
        "a wallet's posted balance is that after its last entry",
        """
        SELECT w.user_id AS wallet_id, w.posted_micro, j.balance_micro FROM wallet_wallet w LEFT JOIN LATERAL (
            SELECT balance_micro FROM wallet_journalentry j WHERE j.wallet_id = w.user_id ORDER BY id DESC LIMIT 1
        ) j ON true WHERE w.posted_micro <> coalesce(j.balance_micro, 0)
        """,
    ),
]
