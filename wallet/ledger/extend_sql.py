"""The statement that raises and renews holds of running requests, as far as their wallets and budgets cover it.

What is raised is decided by the hold's row itself: one that was resolved while its wallet was waited for is not there
any more, and nothing is reserved for it. A row of the answer is authorise_sql's, without one for a hold that is gone.
"""

EXTEND = """
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json)
        AS r(n int, id uuid, wallet_id bigint, to_micro bigint, minimum_micro bigint, seconds int)
), locked AS MATERIALIZED (
    SELECT user_id, posted_micro, held_micro, posted_micro - held_micro AS available_micro,
        frozen_at IS NOT NULL AS frozen FROM wallet_wallet
    WHERE user_id = ANY (ARRAY (SELECT wallet_id FROM asked)) ORDER BY user_id FOR NO KEY UPDATE
), held AS MATERIALIZED (
    SELECT a.n, a.seconds, h.id, h.wallet_id, h.budget_id, h.amount_micro, l.available_micro, l.frozen,
        greatest(a.to_micro - h.amount_micro, 0) AS more_micro,
        greatest(a.minimum_micro - h.amount_micro, 0) AS least_micro
    FROM asked a JOIN locked l ON l.user_id = a.wallet_id
    JOIN wallet_hold h ON h.id = a.id AND h.wallet_id = a.wallet_id
), budgets AS MATERIALIZED (
    SELECT b.id, b.held_micro, greatest(b.limit_micro - b.spent_micro - b.held_micro, 0) AS remaining_micro
    FROM wallet_budget b JOIN locked ON locked.user_id = b.wallet_id
    WHERE b.id IN (SELECT budget_id FROM held) ORDER BY b.id FOR NO KEY UPDATE OF b
), wanted AS (
    SELECT held.*, CASE WHEN budget_id IS NOT NULL THEN coalesce(b.remaining_micro, 0) END AS budget_remaining_micro
    FROM held LEFT JOIN budgets b ON b.id = held.budget_id
), offered AS (
    SELECT *, least(more_micro, available_micro - coalesce(earlier, 0),
        budget_remaining_micro - coalesce(budget_earlier, 0))::bigint AS offer_micro
    FROM (
        SELECT *, sum(least(more_micro, budget_remaining_micro)) OVER (
                PARTITION BY wallet_id ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier,
            sum(least(more_micro, budget_remaining_micro)) OVER (PARTITION BY wallet_id, budget_id ORDER BY n
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS budget_earlier
        FROM wanted
    ) counted
), raised AS (
    UPDATE wallet_hold h SET amount_micro = h.amount_micro + o.offer_micro,
        expires_at = greatest(h.expires_at, now() + o.seconds * interval '1 second')
    FROM offered o
    WHERE h.id = o.id AND h.amount_micro = o.amount_micro AND o.offer_micro >= o.least_micro
        AND (o.more_micro = 0 OR NOT o.frozen)
    RETURNING o.n, h.wallet_id, h.budget_id, h.amount_micro, o.offer_micro
), wallets_raised AS (
    UPDATE wallet_wallet w SET posted_micro = l.posted_micro, held_micro = l.held_micro + t.total
    FROM (SELECT wallet_id, sum(offer_micro) AS total FROM raised GROUP BY wallet_id) t
    JOIN locked l ON l.user_id = t.wallet_id WHERE w.user_id = t.wallet_id
), budgets_raised AS (
    UPDATE wallet_budget b SET held_micro = l.held_micro + t.total
    FROM (SELECT budget_id, sum(offer_micro) AS total FROM raised WHERE budget_id IS NOT NULL GROUP BY budget_id) t
    JOIN budgets l ON l.id = t.budget_id WHERE b.id = t.budget_id
)
SELECT o.n, r.amount_micro, o.available_micro - coalesce(sum(r.offer_micro) OVER (PARTITION BY o.wallet_id), 0),
    o.frozen, o.budget_remaining_micro - coalesce(sum(r.offer_micro) OVER (PARTITION BY o.wallet_id, o.budget_id), 0)
FROM offered o LEFT JOIN raised r USING (n)
"""
