"""A database from before price lists: no cost, price or rule of what it holds is changed by the migration."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import connection

from tests.live import ROOT

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


@pytest.fixture
def database(django_db_setup: None) -> Iterator[str]:
    settings, name = connection.settings_dict, f"before_price_lists_{os.getpid()}"
    url = f"postgresql://{settings['USER']}@/{{}}?host={settings['HOST']}"
    with psycopg.connect(url.format("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield url.format(name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def manage(database: str) -> Callable[..., str]:
    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env={**os.environ, "DATABASE_URL": database},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_costs_and_prices_from_before_stay_and_old_processes_go_on_writing(
    database: str, manage: Callable[..., str]
) -> None:
    manage("migrate", *BEFORE, "--verbosity", "0")
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(ROWS)
        records, prices = session.execute(RECORDS).fetchall(), session.execute(PRICES).fetchall()
    assert len(records) == 3
    manage("migrate", "--verbosity", "0")
    with psycopg.connect(database, autocommit=True) as session:
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
