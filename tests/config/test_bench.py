"""`make bench` beside another commit: what is computed from the samples, and where the commit's build is."""

import re
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from bench import builds, gateways, pairs, processes
from bench.measure import Sample
from bench.report import Run

BASE = "Hamiran b46d890"


def run(base: list[float], new: list[float], **trouble: int) -> Run:
    """A round for each pair of CPU times of the row `whole`."""
    samples = {
        BASE: [Sample({"web_us": value, "web_busy": 1.0}) for value in base],
        "Hamiran": [Sample({"web_us": value, "web_busy": 1.0}, trouble) for value in new],
    }
    return Run(
        results={"whole": samples}, versions={}, at=datetime(2026, 11, 30, 1, 2, tzinfo=UTC),
        rounds=len(base), seconds=3, load_before=0.5,
    )  # fmt: skip


def cells(table: str, title: str) -> list[str]:
    (line,) = re.findall(rf"^\| {re.escape(title)} \|.*$", table, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_pair_table_has_medians_and_the_median_of_the_ratios_within_each_pair() -> None:
    table = pairs.table(run([400, 200, 600], [100, 100, 120]), BASE, "4c41bfa")
    assert cells(table, "CPU of the web process, µs a request") == [
        "CPU of the web process, µs a request", "400 (200–600)", "100 (100–120)", "0.25 (0.20–0.50)",
    ]  # fmt: skip


def test_a_pair_table_names_both_commits_and_has_only_rows_that_were_measured() -> None:
    table = pairs.table(run([1], [1]), BASE, "4c41bfa-dirty")
    assert "|  | Hamiran b46d890 | Hamiran 4c41bfa-dirty | new ÷ base |" in table
    titles = re.findall(r"^\| (\w[^|]+) \|", table, re.MULTILINE)
    assert titles == [line.title for line in pairs.LINES if line.row == "whole"]
    assert "2026-11-30 01:02 UTC" in table


def test_a_pair_table_tells_what_went_wrong() -> None:
    assert "Nothing failed." in pairs.table(run([1], [1]), BASE, "4c41bfa")
    assert "- Hamiran, `whole`: 6 × cut" in pairs.table(run([1, 1], [1, 1], cut=3), BASE, "4c41bfa")


def test_every_row_of_the_benchmark_can_be_measured_in_pairs() -> None:
    assert {line.row for line in pairs.LINES} == set(gateways.ROWS)


def test_nobody_has_the_same_contender_before_it_in_every_round() -> None:
    rounds = [gateways.turns((BASE, "Hamiran"), number) for number in (1, 2, 3)]
    assert rounds == [[BASE, "Hamiran"], ["Hamiran", BASE], [BASE, "Hamiran"]]


def test_a_base_runs_from_a_folder_and_an_environment_of_its_own() -> None:
    base = builds.base("b46d890")
    assert base.name == BASE
    assert base.home == builds.THIS.home / "var" / "bench" / "base-b46d890"
    assert base.python == base.home / ".venv" / "bin" / "python"


@pytest.mark.parametrize("commit", ["main", "../..", "b46d89", "b46d890/..", "B46D890", ""])
def test_a_base_is_named_by_its_commit_alone(commit: str) -> None:
    with pytest.raises(SystemExit, match="BENCH_BASE"):
        builds.base(commit)


@pytest.mark.slow
def test_cpu_time_counts_what_has_ended_below_a_child(tmp_path: Path) -> None:
    """As sessions of PostgreSQL end below the process that holds the engine."""
    spend = "import time; began = time.process_time()\nwhile time.process_time() < began + 0.2: pass"
    run = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', {!r}])"
    engine = run.format(spend) + "; print(1, flush=True); time.sleep(60)"
    holder = run.format(engine)
    log = tmp_path / "log"
    running = processes.start("holder", [sys.executable, "-c", holder], log=log)
    try:
        running.wait_until(lambda: log.read_text() == "1\n")
        assert running.cpu_seconds() >= 0.2
    finally:
        for process in reversed(psutil.Process(running.process.pid).children(recursive=True)):
            process.kill()
        running.stop()


@pytest.mark.slow
def test_an_engine_ends_on_sigint_even_where_a_shell_in_the_background_had_it_ignored(tmp_path: Path) -> None:
    command = [
        "sh",
        "-c",
        'trap "" INT; exec "$@"',
        "sh",
        sys.executable,
        str(builds.ENGINE),
        "valkey",
        str(tmp_path),
    ]
    engine = processes.start(
        "Valkey", command, log=tmp_path / "log", env=builds.THIS.environment(tmp_path), cwd=builds.THIS.home
    )
    engine.wait_until((tmp_path / "valkey.ready").exists)
    (valkey,) = psutil.Process(engine.process.pid).children()
    engine.stop(signal.SIGINT)
    assert engine.process.returncode == 0
    assert not valkey.is_running()
