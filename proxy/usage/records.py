"""The usage record that is written with every settlement, in the ledger's own statement."""

# Reads `settled` of wallet.ledger.writer.SETTLE: a hold that was resolved before writes no second record.
RECORD_SQL = """
INSERT INTO proxy_usagerecord (
    id, created_at, user_id, key_id, model, upstream_id, stream, outcome, billed_by, status,
    prompt_tokens, cached_tokens, completion_tokens,
    input_rial_per_million, output_rial_per_million, cached_input_rial_per_million,
    cost_micro, uncovered_micro, first_byte_ms, total_ms, upstream_cost_nanodollars)
SELECT settled.id, now(), settled.wallet_id,
    r.key_id, r.model, r.upstream_id, r.stream, r.outcome, r.billed_by, r.status,
    r.prompt_tokens, r.cached_tokens, r.completion_tokens,
    r.input_rial_per_million, r.output_rial_per_million, r.cached_input_rial_per_million,
    settled.cost_micro, r.uncovered_micro, r.first_byte_ms, r.total_ms,
    r.upstream_cost_nanodollars
FROM settled, json_to_record(settled.record) AS r(
    key_id bigint, model text, upstream_id bigint, stream bool, outcome text, billed_by text, status smallint,
    prompt_tokens int, cached_tokens int, completion_tokens int,
    input_rial_per_million bigint, output_rial_per_million bigint, cached_input_rial_per_million bigint,
    uncovered_micro bigint, first_byte_ms int, total_ms int, upstream_cost_nanodollars bigint)
WHERE settled.record IS NOT NULL
"""
