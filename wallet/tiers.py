"""Tiers that are earned: a user whose top-ups have reached a tier's total, on an account of its age, gets it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection, transaction

logger = logging.getLogger(__name__)

# What counts is the journal; top-ups are where its few entries about them are found without reading all usage.
# A tier without a threshold was given by an admin and stays. The tier is compared again in the UPDATE, which sees
# what an admin changed meanwhile.
REACHED = """
WITH paid AS (
    SELECT t.user_id, sum(j.amount_micro) AS total_micro
    FROM wallet_topup t
    JOIN wallet_journalentry j ON j.transaction_id = t.id AND j.account = 'wallet' AND j.kind = 'topup'
    WHERE %(user_id)s::bigint IS NULL OR t.user_id = %(user_id)s
    GROUP BY t.user_id
), reached AS (
    SELECT DISTINCT ON (u.id) u.id AS user_id, u.tier_id AS old_tier_id, old.name AS old_name, t.id AS tier_id, t.name
    FROM accounts_user u
    JOIN accounts_tier old ON old.id = u.tier_id
    JOIN accounts_tier t ON (t.min_lifetime_topup_micro, t.min_account_age_days)
                          > (old.min_lifetime_topup_micro, old.min_account_age_days)
                        AND u.joined_at <= statement_timestamp() - t.min_account_age_days * interval '1 day'
    LEFT JOIN paid ON paid.user_id = u.id
    WHERE (%(user_id)s::bigint IS NULL OR u.id = %(user_id)s)
      AND t.min_lifetime_topup_micro <= coalesce(paid.total_micro, 0)
    ORDER BY u.id, t.min_lifetime_topup_micro DESC, t.min_account_age_days DESC
)
"""
RAISE = f"""{REACHED}
UPDATE accounts_user u SET tier_id = reached.tier_id
FROM reached WHERE u.id = reached.user_id AND u.tier_id = reached.old_tier_id
RETURNING u.id, reached.name
"""  # noqa: S608 - put together from constants
MOVES = f"""{REACHED}
SELECT old_name, name, count(*) FROM reached GROUP BY old_name, name ORDER BY old_name, name
"""  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True)
class Move:
    """How many users go from one tier to another."""

    old: str
    new: str
    users: int


def recompute(*, user_id: int | None = None) -> int:
    """Raises one user, or everybody, to the highest tier that they have earned; returns how many were raised.

    Nobody is ever lowered. One statement, in a transaction of its own unless one is open.
    """
    with connection.cursor() as cursor:
        cursor.execute(RAISE, {"user_id": user_id})
        raised = cursor.fetchall()
    for raised_id, tier_name in raised:
        logger.info("tier reached", extra={"user_id": raised_id, "tier": tier_name})
    return len(raised)


def moves_after(change: Callable[[], object]) -> list[Move]:
    """Who would be raised if `change` were made to the tiers: it is made, looked at, and taken back."""
    with transaction.atomic():
        change()
        with connection.cursor() as cursor:
            cursor.execute(MOVES, {"user_id": None})
            found = [Move(*row) for row in cursor.fetchall()]
        transaction.set_rollback(True)
    return found
