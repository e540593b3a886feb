"""A database from before price lists: no cost, price or rule of what it holds is changed by the migration."""

import psycopg
import pytest

from tests.own_database import OwnDatabase

pytestmark = [pytest.mark.slow, pytest.mark.proof]

BEFORE = ("proxy", "0014_usage_endpoint")
ROWS = """
INSERT INTO proxy_languagemodel (model_id, description, description_fa, owned_by, context_tokens, max_output_tokens,
    is_active, created_at) VALUES ('m', '', '', 'o', 1000, 100, true, now());
INSERT INTO proxy_price (model_id, valid_from, input_rial_per_million, output_rial_per_million,
    cached_input_rial_per_million) SELECT id, now(), 1000, 4000, cached FROM proxy_languagemodel,
    (VALUES (NULL::bigint), (250)) AS each (cached) ON CONFLICT DO NOTHING;
INSERT INTO proxy_usagerecord (id, created_at, user_id, key_id, model, upstream_id, stream, outcome, billed_by, status,
    prompt_tokens, cached_tokens, completion_tokens, input_rial_per_million, output_rial_per_million,
    cached_input_rial_per_million, cost_micro, uncovered_micro, total_ms)
SELECT gen_random_uuid(), now(), 1, 1, 'm', 1, false, 'completed', billed_by, 200, 10, 4, 5, 1000, 4000, 250,
    cost, uncovered, 1
FROM (VALUES ('usage', 27000, 0), ('estimate', 20000, 7000), ('nothing', 0, 0)) AS each (billed_by, cost, uncovered);
"""
RECORDS = "SELECT id, cost_micro, uncovered_micro, input_rial_per_million FROM proxy_usagerecord ORDER BY id"
PRICES = """
SELECT input_rial_per_million, output_rial_per_million, cached_input_rial_per_million FROM proxy_price ORDER BY id
"""


def test_costs_and_prices_from_before_stay_and_old_processes_go_on_writing(own: OwnDatabase) -> None:
    own.manage("migrate", *BEFORE, "--verbosity", "0")
    with psycopg.connect(own.url, autocommit=True) as session:
        session.execute(ROWS)
        records, prices = session.execute(RECORDS).fetchall(), session.execute(PRICES).fetchall()
    assert len(records) == 3
    own.manage("migrate", "--verbosity", "0")
    with psycopg.connect(own.url, autocommit=True) as session:
        assert session.execute(RECORDS).fetchall() == records
        assert session.execute(PRICES).fetchall() == prices
        [[kept]] = session.execute("SELECT count(*) FROM proxy_usagerecord WHERE price_list_id IS NOT NULL")
        assert kept == 0
        session.execute(
            ROWS.partition("INSERT INTO proxy_usagerecord")[2].join(["INSERT INTO proxy_usagerecord", ""])
        )
        wrong = "UPDATE proxy_usagerecord SET cost_micro = cost_micro + 1 WHERE billed_by = 'usage'"
        with pytest.raises(psycopg.errors.CheckViolation, match="usage_cost_is_tokens_times_price"):
            session.execute(wrong)
        [[unchecked]] = session.execute("SELECT count(*) FROM pg_constraint WHERE NOT convalidated")
        assert unchecked == 0
