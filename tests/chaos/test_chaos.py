"""A few rounds of `make chaos`, as a process with engines of its own."""

import os
import subprocess
import sys

import pytest

from tests.chaos import faults
from tests.live import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_a_few_rounds_of_chaos_leave_every_book_in_agreement() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CHAOS_", "HAMIRAN_"))}
    done = subprocess.run(
        [sys.executable, "bench/chaos.py"],
        cwd=ROOT, env={**env, "CHAOS_ROUNDS": "4", "CHAOS_CLIENTS": "8"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_replays_its_schedule() -> None:
    assert faults.schedule(7, 50) == faults.schedule(7, 50) != faults.schedule(8, 50)
