"""The statement that raises and renews holds of running requests, as far as their wallets and budgets cover it.

What is raised is decided by the hold's row itself: one that was resolved while its wallet was waited for is not there
any more, and nothing is reserved for it. Of a budget that has gone on to another period since the hold was placed, the
period before counts. `PLAIN` finds holds without budgets only. A row of the answer is authorise_sql's, without one for
a hold that is gone.
"""

PLAIN = """
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json)
        AS r(n int, id uuid, wallet_id bigint, to_micro bigint, minimum_micro bigint, seconds int)
), locked AS MATERIALIZED (
    SELECT user_id, posted_micro, held_micro, posted_micro - held_micro AS available_micro,
        frozen_at IS NOT NULL AS frozen FROM wallet_wallet
    WHERE user_id = ANY (ARRAY (SELECT wallet_id FROM asked)) ORDER BY user_id FOR NO KEY UPDATE
), held AS MATERIALIZED (
    SELECT a.n, a.seconds, h.id, h.wallet_id, h.amount_micro, l.available_micro, l.frozen,
        greatest(a.to_micro - h.amount_micro, 0) AS more_micro,
        greatest(a.minimum_micro - h.amount_micro, 0) AS least_micro
    FROM asked a JOIN locked l ON l.user_id = a.wallet_id
    JOIN wallet_hold h ON h.id = a.id AND h.wallet_id = a.wallet_id
        AND h.budget_id IS NULL AND h.shared_budget_id IS NULL
), offered AS (
    SELECT *, least(more_micro, available_micro - coalesce(sum(more_micro) OVER (PARTITION BY wallet_id ORDER BY n
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))::bigint AS offer_micro
    FROM held
), raised AS (
    UPDATE wallet_hold h SET amount_micro = h.amount_micro + o.offer_micro,
        expires_at = greatest(h.expires_at, now() + o.seconds * interval '1 second')
    FROM offered o
    WHERE h.id = o.id AND h.amount_micro = o.amount_micro AND o.offer_micro >= o.least_micro
        AND (o.more_micro = 0 OR NOT o.frozen)
    RETURNING o.n, h.wallet_id, h.amount_micro, o.offer_micro
), wallets_raised AS (
    UPDATE wallet_wallet w SET posted_micro = l.posted_micro, held_micro = l.held_micro + t.total
    FROM (SELECT wallet_id, sum(offer_micro) AS total FROM raised GROUP BY wallet_id) t
    JOIN locked l ON l.user_id = t.wallet_id WHERE w.user_id = t.wallet_id
)
SELECT o.n, r.amount_micro, o.available_micro - coalesce(sum(r.offer_micro) OVER (PARTITION BY o.wallet_id), 0),
    o.frozen
FROM offered o LEFT JOIN raised r USING (n)
"""

# What a budget has for more of a hold that was placed in its present period, over or not, or before.
REMAINING = """greatest({0}.limit_micro - CASE WHEN h.created_at < {0}.starts_at
            THEN {0}.previous_spent_micro + {0}.held_before_micro
            ELSE {0}.spent_micro - {0}.spent_before_micro
                + greatest({0}.held_micro - {0}.held_before_micro, 0) END, 0)"""

WITH_BUDGETS = f"""
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json)
        AS r(n int, id uuid, wallet_id bigint, to_micro bigint, minimum_micro bigint, seconds int)
), locked AS MATERIALIZED (
    SELECT user_id, posted_micro, held_micro, posted_micro - held_micro AS available_micro,
        frozen_at IS NOT NULL AS frozen FROM wallet_wallet
    WHERE user_id = ANY (ARRAY (SELECT wallet_id FROM asked)) ORDER BY user_id FOR NO KEY UPDATE
), held AS MATERIALIZED (
    SELECT a.n, a.seconds, h.id, h.wallet_id, h.budget_id, h.shared_budget_id, h.created_at, h.amount_micro,
        l.available_micro, l.frozen,
        greatest(a.to_micro - h.amount_micro, 0) AS more_micro,
        greatest(a.minimum_micro - h.amount_micro, 0) AS least_micro
    FROM asked a JOIN locked l ON l.user_id = a.wallet_id
    JOIN wallet_hold h ON h.id = a.id AND h.wallet_id = a.wallet_id
), budgets AS MATERIALIZED (
    SELECT b.* FROM wallet_budget b JOIN locked ON locked.user_id = b.wallet_id
    WHERE b.id IN (SELECT budget_id FROM held UNION ALL SELECT shared_budget_id FROM held)
    ORDER BY b.id FOR NO KEY UPDATE OF b
), wanted AS (
    SELECT h.*, (h.created_at < b.starts_at) IS TRUE AS is_before,
        (h.created_at < s.starts_at) IS TRUE AS shared_is_before,
        CASE WHEN h.budget_id IS NOT NULL THEN coalesce({REMAINING.format("b")}, 0) END AS budget_remaining_micro,
        CASE WHEN h.shared_budget_id IS NOT NULL THEN coalesce({REMAINING.format("s")}, 0) END
            AS shared_remaining_micro,
        b.period AS budget_period, b.ends_at AS budget_ends_at, s.period AS shared_period, s.ends_at AS shared_ends_at
    FROM held h LEFT JOIN budgets b ON b.id = h.budget_id LEFT JOIN budgets s ON s.id = h.shared_budget_id
), offered AS (
    SELECT *, least(more_micro, available_micro - coalesce(earlier, 0),
        budget_remaining_micro - coalesce(budget_earlier, 0),
        shared_remaining_micro - coalesce(shared_earlier, 0))::bigint AS offer_micro
    FROM (
        SELECT *, sum(wanted_micro) OVER (
                PARTITION BY wallet_id ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier,
            sum(wanted_micro) OVER (PARTITION BY wallet_id, budget_id, is_before ORDER BY n
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS budget_earlier,
            sum(wanted_micro) OVER (PARTITION BY wallet_id, shared_budget_id, shared_is_before ORDER BY n
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS shared_earlier
        FROM (SELECT *, least(more_micro, budget_remaining_micro, shared_remaining_micro) AS wanted_micro FROM wanted) w
    ) counted
), raised AS (
    UPDATE wallet_hold h SET amount_micro = h.amount_micro + o.offer_micro,
        expires_at = greatest(h.expires_at, now() + o.seconds * interval '1 second')
    FROM offered o
    WHERE h.id = o.id AND h.amount_micro = o.amount_micro AND o.offer_micro >= o.least_micro
        AND (o.more_micro = 0 OR NOT o.frozen)
    RETURNING o.n, h.wallet_id, h.budget_id, h.shared_budget_id, o.is_before, o.shared_is_before, h.amount_micro,
        o.offer_micro
), wallets_raised AS (
    UPDATE wallet_wallet w SET posted_micro = l.posted_micro, held_micro = l.held_micro + t.total
    FROM (SELECT wallet_id, sum(offer_micro) AS total FROM raised GROUP BY wallet_id) t
    JOIN locked l ON l.user_id = t.wallet_id WHERE w.user_id = t.wallet_id
), budgets_raised AS (
    UPDATE wallet_budget b SET held_micro = l.held_micro + t.total,
        held_before_micro = l.held_before_micro + t.total_before
    FROM (
        SELECT budget_id, sum(offer_micro) AS total,
            sum(CASE WHEN is_before THEN offer_micro ELSE 0 END) AS total_before
        FROM (
            SELECT budget_id, is_before, offer_micro FROM raised WHERE budget_id IS NOT NULL
            UNION ALL
            SELECT shared_budget_id, shared_is_before, offer_micro FROM raised WHERE shared_budget_id IS NOT NULL
        ) counted GROUP BY budget_id
    ) t JOIN budgets l ON l.id = t.budget_id WHERE b.id = t.budget_id
)
SELECT o.n, r.amount_micro, o.available_micro - coalesce(sum(r.offer_micro) OVER (PARTITION BY o.wallet_id), 0),
    o.frozen,
    o.budget_remaining_micro
        - coalesce(sum(r.offer_micro) OVER (PARTITION BY o.wallet_id, o.budget_id, o.is_before), 0),
    o.shared_remaining_micro
        - coalesce(sum(r.offer_micro) OVER (PARTITION BY o.wallet_id, o.shared_budget_id, o.shared_is_before), 0),
    CASE WHEN r.n IS NULL THEN o.budget_period END, CASE WHEN r.n IS NULL THEN o.budget_ends_at END,
    CASE WHEN r.n IS NULL THEN o.shared_period END, CASE WHEN r.n IS NULL THEN o.shared_ends_at END, now()
FROM offered o LEFT JOIN raised r USING (n)
"""  # noqa: S608 - text from our own code
