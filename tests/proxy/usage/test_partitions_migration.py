"""A table full of usage records becomes a partitioned one: not a row moves, and whoever writes goes on writing."""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection, connections

from tests import live
from tests.fake_upstream import FakeUpstream
from tests.live import ROOT
from tests.own_database import OwnDatabase

MIGRATION: Any = import_module("proxy.migrations.0032_usage_by_month")
BEFORE = ("proxy", "0030_model_health")
ALL_BEFORE = f"""
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connection)
executor.migrate([{BEFORE}, *(leaf for leaf in executor.loader.graph.leaf_nodes() if leaf[0] != "proxy")])
"""
COLUMNS = """
id, created_at, user_id, key_id, model, upstream_id, stream, outcome, billed_by, status, prompt_tokens, cached_tokens,
completion_tokens, input_rial_per_million, output_rial_per_million, cached_input_rial_per_million, cost_micro,
uncovered_micro, total_ms
"""
WRITE = f"""
INSERT INTO proxy_usagerecord ({COLUMNS}) VALUES (gen_random_uuid(), %s, 1, 1, 'm', 1, false, 'completed', 'usage', 200,
    10, 4, 5, 1000, 4000, 250, 27000, 0, 1)
"""
READ = "SELECT * FROM proxy_usagerecord WHERE user_id = %s ORDER BY id"
FILE = "SELECT DISTINCT pg_relation_filenode(tableoid) FROM proxy_usagerecord"
LEFT = "SELECT count(*) FROM pg_constraint WHERE conname = 'usage_before_months' OR NOT convalidated"
FULL = f"""
INSERT INTO proxy_usagerecord ({COLUMNS})
SELECT gen_random_uuid(), now() - n * interval '30 seconds', 1000000 + n % 1000, n % 3000, 'm', 1, false, 'completed',
    'nothing', 200, 10, 4, 5, 1000, 4000, 250, 0, 0, 1
FROM generate_series(1, 200000) AS n
"""
RULE = "ALTER TABLE proxy_usagerecord ADD CONSTRAINT usage_before_months"
# The checkout whose web processes run meanwhile; its database is the one that the migration finds.
OLD = Path(os.environ.get("HAMIRAN_BEFORE", ROOT))


@pytest.mark.proof
def test_records_stay_where_they_are_and_old_sessions_go_on(own: OwnDatabase) -> None:
    own.manage("migrate", *BEFORE, "--verbosity", "0")
    with psycopg.connect(own.url, autocommit=True) as session:
        session.execute("GRANT SELECT ON proxy_usagerecord TO PUBLIC")
        # One clock was two months ahead for a while.
        [[ahead]] = session.execute("SELECT now() + interval '2 months'").fetchall()
        for at in ("2001-01-01", "now", "now", ahead):
            session.execute(WRITE, [at], prepare=True)
        session.execute(
            f"{RULE} CHECK (created_at < '2020-01-01') NOT VALID"
        )  # of a migration that was killed
        before, file = session.execute(READ, [1], prepare=True).fetchall(), session.execute(FILE).fetchall()

        own.manage("migrate", "--verbosity", "0")

        assert session.execute(READ, [1], prepare=True).fetchall() == before
        assert session.execute(FILE).fetchall() == file
        session.execute(WRITE, ["now"], prepare=True)
        session.execute(WRITE, ["2500-01-01"], prepare=True)
        assert len(session.execute(READ, [1], prepare=True).fetchall()) == 6
        assert session.execute(LEFT).fetchall() == [(0,)]
        assert session.execute("SELECT count(*) FROM proxy_usagerecord_default").fetchall() == [(1,)]
        [[granted]] = session.execute(
            "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE relname = 'proxy_usagerecord' AND grantee = 0"
        )
        assert granted == 1
    own.manage("makemigrations", "--check", "--dry-run")


@pytest.fixture
def other(committed_db: None, own: OwnDatabase) -> Iterator[SimpleNamespace]:
    """What the migration is given, of a database that has all before it."""
    own.manage("migrate", *BEFORE, "--verbosity", "0")
    name = psycopg.conninfo.conninfo_to_dict(own.url)["dbname"]
    connections.databases["other"] = connection.settings_dict | {"NAME": name}
    yield SimpleNamespace(connection=connections["other"])
    connections["other"].close()
    del connections["other"], connections.databases["other"]


def left_of(editor: SimpleNamespace) -> tuple[int, str]:
    with editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT ({LEFT}), relkind FROM pg_class WHERE relname = 'proxy_usagerecord'")
        rules, kind = cursor.fetchone()
        return int(rules), str(kind)


@pytest.mark.slow
def test_it_gives_way_to_whoever_reads_and_leaves_nothing_behind_where_it_fails(
    own: OwnDatabase, other: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, pauses = MIGRATION._exchange, []

    def fails(cursor: Any, boundary: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(MIGRATION, "_exchange", fails)
    with pytest.raises(KeyboardInterrupt):
        MIGRATION.divide(None, other)
    assert left_of(other) == (0, "r")

    with psycopg.connect(own.url) as reader:

        def reads(cursor: Any, boundary: Any) -> Any:
            reader.execute("SELECT count(*) FROM proxy_usagerecord")
            return exchange(cursor, boundary)

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            reader.rollback()

        monkeypatch.setattr(MIGRATION, "_exchange", reads)
        monkeypatch.setattr(MIGRATION.time, "sleep", pause)
        MIGRATION.divide(None, other)
    assert pauses == [MIGRATION.PAUSE_SECONDS]
    assert left_of(other) == (0, "p")
    MIGRATION.divide(None, other)  # killed before Django had noted it
    assert left_of(other) == (0, "p")


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_no_request_fails_while_a_full_table_is_partitioned(
    own: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.manage("shell", "--command", ALL_BEFORE, "--verbosity", "0")
    upstream = FakeUpstream()
    prices = ["--input-toman-per-million", "30000", "--output-toman-per-million", "30000"]
    own.manage("set_tier", "Free", "--rpm", "1000000", "--tpm", "1000000000", "--concurrency", "1000")
    own.manage("add_model", "m", "--upstream-url", upstream.url, "--upstream-key", "none", *prices)
    issued = own.manage("issue_key", "--mobile", "09121234567", "--credit-toman", "1000000", "--json")
    key = {"authorization": f"Bearer {json.loads(issued)['key']}"}
    with psycopg.connect(own.url, autocommit=True) as session:
        session.execute(FULL)
        session.execute("ANALYZE proxy_usagerecord")
    monkeypatch.setattr(live, "ROOT", OLD)
    ended = threading.Event()
    with ExitStack() as stack:
        stack.callback(upstream.close)
        webs = [
            stack.enter_context(live.web_process(env={"DATABASE_URL": own.url}, ready="/healthz"))
            for _each in range(2)
        ]
        took: list[float] = []

        def ask(client: httpx.Client, number: int) -> list[int]:
            found = []
            while not ended.is_set():
                asked = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}
                headers = {**key, "idempotency-key": uuid.uuid4().hex}
                for _twice in range(2):
                    began = time.monotonic()
                    answer = client.post(
                        f"{webs[number % 2].url}/v1/chat/completions", json=asked, headers=headers, timeout=60
                    )
                    took.append(time.monotonic() - began)
                    found.append(answer.status_code)
            return found

        def migrate() -> str:
            time.sleep(3)
            began = time.monotonic()
            own.manage("migrate", "--verbosity", "0")
            before = time.monotonic() - began
            time.sleep(3)
            ended.set()
            return f"migrated in {before:.1f} s"

        with ThreadPoolExecutor(1) as pool:
            migrating = pool.submit(migrate)
            migrating.add_done_callback(lambda _done: ended.set())
            statuses = [each for found in live.at_once(ask, range(8), threads=8) for each in found]
        print(migrating.result(), len(statuses), "requests; the longest took", f"{max(took):.2f} s")
    assert len(statuses) > 200
    # A repeat whose first answer is not kept is told so.
    assert set(statuses) == {200, 409}
    assert statuses.count(200) == statuses.count(409)
    books = json.loads(own.manage("check_ledger", "--json"))
    assert books["ok"], books
    with psycopg.connect(own.url) as session:
        [[charged]] = session.execute(
            "SELECT count(*) FROM proxy_usagerecord WHERE cost_micro > 0"
        ).fetchall()
        [[kept]] = session.execute("SELECT count(*) FROM proxy_usagerecord").fetchall()
    assert charged == statuses.count(200)
    assert kept == charged + 200_000
