"""What must be true between usage records and the journal, for `manage.py check_ledger` (wallet.integrity says how)."""

from collections.abc import Iterator

import orjson
from django.db import connection

from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import cost_micro
from proxy.catalogue.served import quote
from proxy.usage import quantities
from proxy.usage.partitions import KEPT_SINCE
from wallet.integrity import Check, Row

SAMPLE = 10_000
PRICED = """
SELECT id, user_id, model, price_list_id, prompt_tokens, cached_tokens, completion_tokens, quantities::text,
       cost_micro + uncovered_micro
FROM proxy_usagerecord {sample} WHERE price_list_id IS NOT NULL AND billed_by <> 'nothing'
"""

# With what the roll-ups keep of detached months; they know no projects, but a key stays in its own.
USED = f"""
SELECT key_id, project_id, false AS is_rolled, cost_micro FROM proxy_usagerecord
UNION ALL
SELECT key_id, NULL, true, cost_micro FROM proxy_rollup WHERE period = 'hour' AND starts_at < {KEPT_SINCE}
"""  # noqa: S608 - text from our own code


def _recomputed(query: str) -> Iterator[Row]:
    """The records whose cost does not follow from their quantities and price lists."""
    lists: dict[int, tuple[str, PriceQuote] | None] = {}
    with connection.chunked_cursor() as cursor:
        cursor.execute(query)
        for record_id, user_id, model, list_id, prompt, cached, completion, further, charged in cursor:
            if list_id not in lists:
                lists[list_id] = _list(list_id)
            found = {"id": record_id, "user_id": user_id, "price_list_id": list_id, "charged_micro": charged}
            known = lists[list_id]
            if known is None or known[0] != model:
                yield {**found, "reason": "no price list of its model"}
                continue
            try:
                usage, units = quantities.read(
                    prompt_tokens=prompt,
                    cached_tokens=cached,
                    completion_tokens=completion,
                    further=orjson.loads(further) if further else None,
                )
            except (TypeError, ValueError) as error:
                yield {**found, "reason": str(error)}
                continue
            if (cost := cost_micro(usage, known[1], units)) != charged:
                yield {**found, "cost_micro": cost}


def _list(list_id: int) -> tuple[str, PriceQuote] | None:
    """A stored list and the id of its model; None where there is none that can be read."""
    price = Price.objects.filter(pk=list_id).select_related("model").first()
    try:
        return None if price is None else (price.model.model_id, quote(price))
    except ValueError:
        return None


def _sampled() -> Iterator[Row]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(greatest(reltuples, 0)) FROM pg_class"
            " WHERE oid IN (SELECT relid FROM pg_partition_tree('proxy_usagerecord') WHERE isleaf)"
        )
        [records] = cursor.fetchone()
    percent = min(100.0, 100 * SAMPLE / records) if records > 0 else 100.0
    return _recomputed(PRICED.format(sample=f"TABLESAMPLE SYSTEM ({percent})"))


def _all() -> Iterator[Row]:
    return _recomputed(PRICED.format(sample=""))


EVERY_COST: Check = ("every usage record costs what its price list says", _all)
CHECKS: list[Check] = [
    (
        "every charged usage record is in the journal with its cost, on its user's wallet",
        """
        SELECT u.id, u.user_id, u.cost_micro, j.wallet_id, j.amount_micro
        FROM proxy_usagerecord u
        LEFT JOIN wallet_journalentry j
            ON j.transaction_id = u.id AND j.account = 'wallet' AND j.kind = 'completion'
        WHERE u.cost_micro <> 0
          AND (j.id IS NULL OR j.amount_micro <> -u.cost_micro OR j.wallet_id <> u.user_id)
        """,
    ),
    (
        "every completion in the journal has its usage record, as long as those are kept",
        f"""
        SELECT j.transaction_id, j.wallet_id, j.amount_micro, u.cost_micro
        FROM wallet_journalentry j
        LEFT JOIN proxy_usagerecord u ON u.id = j.transaction_id
        WHERE j.account = 'wallet' AND j.kind = 'completion'
          AND (u.id IS NULL AND j.created_at >= {KEPT_SINCE} OR u.cost_micro <> -j.amount_micro)
        """,  # noqa: S608 - text from our own code
    ),
    (
        "there are as many charged usage records as completions in the journal: none has two",
        f"""
        SELECT u.records, j.completions FROM (
            SELECT count(*) AS records FROM proxy_usagerecord WHERE cost_micro <> 0 AND created_at >= {KEPT_SINCE}
        ) u, (
            SELECT count(*) AS completions FROM wallet_journalentry
            WHERE account = 'wallet' AND kind = 'completion' AND created_at >= {KEPT_SINCE}
        ) j WHERE u.records <> j.completions
        """,  # noqa: S608 - likewise
    ),
    (
        "every usage record's cost is tokens times price, where nothing else was counted",
        """
        SELECT id, user_id, cost_micro, uncovered_micro FROM proxy_usagerecord
        WHERE cost_micro + uncovered_micro <> (prompt_tokens - cached_tokens) * input_rial_per_million
                + cached_tokens * cached_input_rial_per_million + completion_tokens * output_rial_per_million
          AND quantities IS NULL
          AND NOT (billed_by = 'nothing' AND cost_micro = 0)
        """,
    ),
    ("of a sample, each usage record costs what its price list says", _sampled),
    (
        "a key's budget has spent no more than the usage of the keys that count towards it",
        f"""
        SELECT b.id AS budget_id, b.wallet_id, b.spent_micro, u.cost_micro FROM wallet_budget b JOIN (
            SELECT k.budget_id, coalesce(sum(u.cost_micro), 0) AS cost_micro
            FROM keys_apikey k LEFT JOIN ({USED}) u ON u.key_id = k.id
            WHERE k.budget_id IS NOT NULL GROUP BY k.budget_id
        ) u ON u.budget_id = b.id WHERE b.spent_micro > u.cost_micro
        """,  # noqa: S608 - likewise
    ),
    (
        "a project's budget has spent no more than the usage of its keys",
        f"""
        SELECT b.id AS budget_id, b.wallet_id, b.spent_micro, u.cost_micro
        FROM keys_project p JOIN wallet_budget b ON b.id = p.budget_id CROSS JOIN LATERAL (
            SELECT coalesce(sum(u.cost_micro), 0) AS cost_micro FROM keys_apikey k
            JOIN ({USED}) u ON u.key_id = k.id AND (u.project_id = p.id OR u.is_rolled) WHERE k.project_id = p.id
        ) u WHERE b.spent_micro > u.cost_micro
        """,  # noqa: S608 - likewise
    ),
    (
        "every project's budget is one of its owner's wallet, and so is the owner of its keys",
        """
        SELECT p.id AS project_id, p.owner_id AS user_id, NULL AS key_id FROM keys_project p
        LEFT JOIN wallet_budget b ON b.id = p.budget_id AND b.wallet_id = p.owner_id
        WHERE p.budget_id IS NOT NULL AND b.id IS NULL
        UNION ALL
        SELECT p.id, p.owner_id, k.id FROM keys_apikey k JOIN keys_project p ON p.id = k.project_id
        WHERE k.user_id <> p.owner_id
        """,
    ),
    (
        "every key's budget is one of its owner's wallet",
        """
        SELECT k.id AS key_id, k.user_id, k.budget_id FROM keys_apikey k
        LEFT JOIN wallet_budget b ON b.id = k.budget_id AND b.wallet_id = k.user_id
        WHERE k.budget_id IS NOT NULL AND b.id IS NULL
        """,
    ),
]
