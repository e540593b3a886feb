"""Starts a PostgreSQL and a Valkey of its own for each test process, before Django reads its settings."""

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

# The controller of a parallel run executes no test and needs no engine.
CONTROLLER = (
    any(arg.startswith(("-n", "--numprocesses")) for arg in sys.argv)
    and "PYTEST_XDIST_WORKER" not in os.environ
)

if "HAMIRAN_TEST_VAR" not in os.environ and not CONTROLLER:
    from config import embedded

    var_dir = Path(tempfile.mkdtemp(prefix="hamiran-test-"))
    os.environ["HAMIRAN_VAR"] = str(var_dir)
    for name in (
        "DATABASE_URL", "REDIS_URL", "LIMITS_URL", "UPSTREAM_BASE_URL", "UPSTREAM_API_KEY", "HAMIRAN_MODE",
    ):  # fmt: skip
        os.environ.pop(name, None)
    # Nothing leaves the machine, so no authority has to be known; to read the system's takes each client 40 ms.
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(var_dir)
    stack = contextlib.ExitStack()
    stack.callback(shutil.rmtree, var_dir, ignore_errors=True)
    stack.enter_context(embedded.running(var_dir))
    atexit.register(stack.close)
