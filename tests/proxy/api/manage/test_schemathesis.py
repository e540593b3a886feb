"""schemathesis against the management API as it is served: whatever its document allows, and what it forbids."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.proxy.api.conftest import MODEL
from tests.proxy.api.manage.conftest import Manager

pytestmark = pytest.mark.proof

OF_ALL_KEYS = ("listKeys", "createKey")
OF_ONE_KEY = ("retrieveKey", "changeKey", "revokeKey", "rotateKey")
SEED = "14"
# A revoked key is still there to be read, so what is deleted may be used.
UNWANTED = "use_after_free"
# What a right request may be answered where another one came before it.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 412, 422, 429]
"""


def run(manager: Manager, config: Path, *arguments: str) -> None:
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.proxy.api.manage.schemathesis_hooks",
        "MODEL_ON_SALE": MODEL,
        "PYTHONPATH": str(ROOT),
    }
    address = str(manager.http.base_url.join("../openapi.json"))
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", address),
            *arguments,
            *("-H", f"Authorization: {manager.http.headers['Authorization']}"),
            *("--checks", "all", "--exclude-checks", UNWANTED, "--seed", SEED, "--rate-limit", "auto"),
            *("--request-timeout", "30", "--suppress-health-check", "all", "--no-shrink"),
        ],
        env=environment, cwd=config.parent, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    print(ran.stdout)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "schemathesis.toml"
    file.write_text(CONFIG)
    return file


@pytest.mark.timeout(600)
@pytest.mark.parametrize("operation", [*OF_ALL_KEYS, *OF_ONE_KEY])
def test_an_operation_does_what_its_document_says(manager: Manager, config: Path, operation: str) -> None:
    key_id = manager.create()["id"]
    if operation in OF_ONE_KEY:
        config.write_text(f'{CONFIG}\n[parameters]\n"path.key_id" = {key_id}\n')
    run(
        manager,
        config,
        *("--include-operation-id", operation, "--phases", "examples,coverage,fuzzing", "-n", "60"),
    )


@pytest.mark.timeout(600)
def test_operations_in_a_row_do_what_the_document_says(manager: Manager, config: Path) -> None:
    run(manager, config, "--include-path-regex", "^/manage/", "--phases", "stateful", "-n", "30")
