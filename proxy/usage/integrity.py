"""What must be true between usage records and the journal, as SQL for `manage.py check_ledger`.

Each check is a name and a query that returns a row for every violation, and none when all is well.
"""

CHECKS: list[tuple[str, str]] = [
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
        "every completion in the journal has its usage record",
        """
        SELECT j.transaction_id, j.wallet_id, j.amount_micro, u.cost_micro
        FROM wallet_journalentry j
        LEFT JOIN proxy_usagerecord u ON u.id = j.transaction_id
        WHERE j.account = 'wallet' AND j.kind = 'completion'
          AND (u.id IS NULL OR u.cost_micro <> -j.amount_micro)
        """,
    ),
    (
        "every usage record's cost is tokens times price",
        """
        SELECT id, user_id, cost_micro, uncovered_micro FROM proxy_usagerecord
        WHERE cost_micro + uncovered_micro <> (prompt_tokens - cached_tokens) * input_rial_per_million
                + cached_tokens * cached_input_rial_per_million + completion_tokens * output_rial_per_million
          AND NOT (billed_by = 'nothing' AND cost_micro = 0)
        """,
    ),
    (
        "a key's budget has spent no more than the usage of the keys that count towards it",
        """
        SELECT b.id AS budget_id, b.wallet_id, b.spent_micro, u.cost_micro FROM wallet_budget b JOIN (
            SELECT k.budget_id, coalesce(sum(u.cost_micro), 0) AS cost_micro
            FROM keys_apikey k LEFT JOIN proxy_usagerecord u ON u.key_id = k.id
            WHERE k.budget_id IS NOT NULL GROUP BY k.budget_id
        ) u ON u.budget_id = b.id WHERE b.spent_micro > u.cost_micro
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
