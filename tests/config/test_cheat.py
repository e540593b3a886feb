"""`make cheat` runs: the honest customers of its list, on a service of their own, are billed to the token."""

import os
import subprocess
import sys

import pytest

from tests.live import ROOT


@pytest.mark.proof
def test_honest_customers_pay_what_was_made() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.cheat"],
        cwd=ROOT, env={**os.environ, "CHEAT_ONLY": "honest"},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 customers, 0.00 Toman uncovered" in done.stdout
