"""The statement that places holds, in two forms: most batches have no budget in them, and need not pay for any.

Each wallet's requests are taken in their order of arrival; one that finds too little is passed over. `earlier` counts
what was asked for, not what was granted, so a request behind a refused one may be passed over although the rest would
have covered it: the caller tries such a request again.

A row of the answer: n, what is held (NULL: nothing), what remains in the wallet, whether it is frozen. `WITH_BUDGETS`
goes on: what remains in the budget and in the shared one (NULL: there is none); where nothing was held: each one's
period and end (NULL: it has none), and when the hold would have been placed.
"""

PLAIN = """
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json)
        AS r(n int, id uuid, wallet_id bigint, amount_micro bigint, minimum_micro bigint, seconds int)
), locked AS MATERIALIZED (
    SELECT user_id, posted_micro, held_micro, posted_micro - held_micro AS available_micro,
        frozen_at IS NOT NULL AS frozen FROM wallet_wallet
    WHERE user_id = ANY (ARRAY (SELECT wallet_id FROM asked)) ORDER BY user_id FOR NO KEY UPDATE
), offered AS (
    SELECT asked.*, available_micro, frozen,
        LEAST(amount_micro, available_micro - coalesce(earlier, 0))::bigint AS offer_micro
    FROM (
        SELECT *, sum(amount_micro) OVER (
            PARTITION BY wallet_id ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier
        FROM asked
    ) asked JOIN locked ON locked.user_id = asked.wallet_id
), granted AS (
    SELECT * FROM offered WHERE offer_micro >= minimum_micro AND NOT frozen
), raised AS (
    UPDATE wallet_wallet w SET posted_micro = l.posted_micro, held_micro = l.held_micro + t.total
    FROM (SELECT wallet_id, sum(offer_micro) AS total FROM granted GROUP BY wallet_id) t
    JOIN locked l ON l.user_id = t.wallet_id WHERE w.user_id = t.wallet_id
), placed AS (
    INSERT INTO wallet_hold (id, wallet_id, amount_micro, created_at, expires_at)
    SELECT id, wallet_id, offer_micro, now(), now() + seconds * interval '1 second' FROM granted
)
SELECT o.n, g.offer_micro, o.available_micro - coalesce(sum(g.offer_micro) OVER (PARTITION BY o.wallet_id), 0),
    o.frozen
FROM offered o LEFT JOIN granted g USING (n)
"""

# What a budget has for holds of its present period; less than nothing where that is over, and the budget has to go on
# to the next one first (`TURN`). `greatest`: a limit can have been lowered below what is spent.
REMAINING = """CASE WHEN b.ends_at <= now() THEN -1 ELSE greatest(b.limit_micro - (b.spent_micro - b.spent_before_micro)
        - greatest(b.held_micro - b.held_before_micro, 0), 0) END"""

# What remains in a budget is read under its lock, like the wallet; another wallet's budget covers nothing. A hold is
# never placed before the period it counts in, though its statement may have begun to wait before that; nor where one
# of its budgets has begun a period that the other one's is over before: that one goes on first.
# `PLAIN` takes a sixth less of PostgreSQL's time.
WITH_BUDGETS = f"""
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json) AS r(n int, id uuid, wallet_id bigint, amount_micro bigint,
        minimum_micro bigint, seconds int, budget_id bigint, shared_budget_id bigint)
), locked AS MATERIALIZED (
    SELECT user_id, posted_micro, held_micro, posted_micro - held_micro AS available_micro,
        frozen_at IS NOT NULL AS frozen FROM wallet_wallet
    WHERE user_id = ANY (ARRAY (SELECT wallet_id FROM asked)) ORDER BY user_id FOR NO KEY UPDATE
), budgets AS MATERIALIZED (
    SELECT b.id, b.wallet_id, b.period, b.starts_at, b.ends_at, b.held_micro, {REMAINING} AS remaining_micro
    FROM wallet_budget b JOIN locked ON locked.user_id = b.wallet_id
    WHERE b.id IN (SELECT budget_id FROM asked UNION ALL SELECT shared_budget_id FROM asked)
    ORDER BY b.id FOR NO KEY UPDATE OF b
), wanted AS (
    SELECT a.*, l.available_micro, l.frozen, greatest(now(), b.starts_at, s.starts_at) AS placed_at,
        CASE WHEN b.ends_at <= s.starts_at THEN -1
            WHEN a.budget_id IS NOT NULL THEN coalesce(b.remaining_micro, 0) END AS budget_remaining_micro,
        CASE WHEN s.ends_at <= b.starts_at THEN -1
            WHEN a.shared_budget_id IS NOT NULL THEN coalesce(s.remaining_micro, 0) END AS shared_remaining_micro,
        b.period AS budget_period, b.ends_at AS budget_ends_at, s.period AS shared_period, s.ends_at AS shared_ends_at
    FROM asked a JOIN locked l ON l.user_id = a.wallet_id
    LEFT JOIN budgets b ON b.id = a.budget_id AND b.wallet_id = a.wallet_id
    LEFT JOIN budgets s ON s.id = a.shared_budget_id AND s.wallet_id = a.wallet_id
), offered AS (
    SELECT *, least(amount_micro, available_micro - coalesce(earlier, 0),
        budget_remaining_micro - coalesce(budget_earlier, 0),
        shared_remaining_micro - coalesce(shared_earlier, 0))::bigint AS offer_micro
    FROM (
        SELECT *, sum(wanted_micro) OVER (
                PARTITION BY wallet_id ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier,
            sum(wanted_micro) OVER (PARTITION BY wallet_id, budget_id ORDER BY n
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS budget_earlier,
            sum(wanted_micro) OVER (PARTITION BY wallet_id, shared_budget_id ORDER BY n
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS shared_earlier
        FROM (
            SELECT *, greatest(least(amount_micro, budget_remaining_micro, shared_remaining_micro), 0) AS wanted_micro
            FROM wanted
        ) bounded
    ) counted
), granted AS (
    SELECT * FROM offered WHERE offer_micro >= minimum_micro AND NOT frozen
), raised AS (
    UPDATE wallet_wallet w SET posted_micro = l.posted_micro, held_micro = l.held_micro + t.total
    FROM (SELECT wallet_id, sum(offer_micro) AS total FROM granted GROUP BY wallet_id) t
    JOIN locked l ON l.user_id = t.wallet_id WHERE w.user_id = t.wallet_id
), budgets_raised AS (
    UPDATE wallet_budget b SET held_micro = l.held_micro + t.total
    FROM (
        SELECT budget_id, sum(offer_micro) AS total FROM (
            SELECT budget_id, offer_micro FROM granted WHERE budget_id IS NOT NULL
            UNION ALL
            SELECT shared_budget_id, offer_micro FROM granted WHERE shared_budget_id IS NOT NULL
        ) counted GROUP BY budget_id
    ) t JOIN budgets l ON l.id = t.budget_id WHERE b.id = t.budget_id
), placed AS (
    INSERT INTO wallet_hold (id, wallet_id, budget_id, shared_budget_id, amount_micro, created_at, expires_at)
    SELECT id, wallet_id, budget_id, shared_budget_id, offer_micro, placed_at, placed_at + seconds * interval '1 second'
    FROM granted
)
SELECT o.n, g.offer_micro, o.available_micro - coalesce(sum(g.offer_micro) OVER (PARTITION BY o.wallet_id), 0),
    o.frozen, o.budget_remaining_micro - coalesce(sum(g.offer_micro) OVER (PARTITION BY o.wallet_id, o.budget_id), 0),
    o.shared_remaining_micro
        - coalesce(sum(g.offer_micro) OVER (PARTITION BY o.wallet_id, o.shared_budget_id), 0),
    CASE WHEN g.n IS NULL THEN o.budget_period END, CASE WHEN g.n IS NULL THEN o.budget_ends_at END,
    CASE WHEN g.n IS NULL THEN o.shared_period END, CASE WHEN g.n IS NULL THEN o.shared_ends_at END, o.placed_at
FROM offered o LEFT JOIN granted g USING (n)
"""  # noqa: S608 - text from our own code

# Budgets go on to the periods that are given, each unless another process was faster: the one that it is in has to be
# over by this server's clock, or with the beginning of the new one, which is not over yet. What was open or spent
# belongs to the time before.
TURN = """
WITH asked AS (
    SELECT * FROM json_to_recordset(%(items)s::json)
        AS r(budget_id bigint, period text, starts_at timestamptz, ends_at timestamptz)
), budgets AS MATERIALIZED (
    SELECT * FROM wallet_budget WHERE id = ANY (ARRAY (SELECT budget_id FROM asked)) ORDER BY id FOR NO KEY UPDATE
)
UPDATE wallet_budget b SET starts_at = greatest(a.starts_at, l.ends_at), ends_at = a.ends_at,
    period = l.period, spent_micro = l.spent_micro, previous_spent_micro = l.spent_micro - l.spent_before_micro,
    spent_before_micro = l.spent_micro, held_before_micro = l.held_micro
FROM asked a JOIN budgets l ON l.id = a.budget_id AND l.period = a.period
WHERE b.id = l.id AND l.ends_at <= greatest(now(), a.starts_at) AND a.ends_at > now()
"""
