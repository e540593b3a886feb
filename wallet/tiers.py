"""Tiers that are earned: a user whose top-ups have reached a tier's total gets that tier."""

import logging

from django.db import connection

logger = logging.getLogger(__name__)

# What counts is the journal; top-ups are where its few entries about them are found without reading all usage.
# A tier without a threshold was given by an admin and stays. The tier is compared again in the UPDATE, which sees
# what an admin changed meanwhile.
RAISE = """
WITH paid AS (
    SELECT t.user_id, sum(j.amount_micro) AS total_micro
    FROM wallet_topup t
    JOIN wallet_journalentry j ON j.transaction_id = t.id AND j.account = 'wallet' AND j.kind = 'topup'
    WHERE %(user_id)s::bigint IS NULL OR t.user_id = %(user_id)s
    GROUP BY t.user_id
), reached AS (
    SELECT DISTINCT ON (u.id) u.id AS user_id, u.tier_id AS old_tier_id, t.id AS tier_id, t.name
    FROM paid
    JOIN accounts_user u ON u.id = paid.user_id
    JOIN accounts_tier old ON old.id = u.tier_id
    JOIN accounts_tier t ON t.min_lifetime_topup_micro <= paid.total_micro
                        AND t.min_lifetime_topup_micro > old.min_lifetime_topup_micro
    ORDER BY u.id, t.min_lifetime_topup_micro DESC
)
UPDATE accounts_user u SET tier_id = reached.tier_id
FROM reached WHERE u.id = reached.user_id AND u.tier_id = reached.old_tier_id
RETURNING u.id, reached.name
"""


def recompute(*, user_id: int | None = None) -> int:
    """Raises one user, or everybody, to the highest tier that their top-ups reach; returns how many were raised.

    Nobody is ever lowered. One statement, in a transaction of its own unless one is open.
    """
    with connection.cursor() as cursor:
        cursor.execute(RAISE, {"user_id": user_id})
        raised = cursor.fetchall()
    for raised_id, tier_name in raised:
        logger.info("tier reached", extra={"user_id": raised_id, "tier": tier_name})
    return len(raised)
