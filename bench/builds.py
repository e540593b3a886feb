"""Builds of Hamiran, this checkout's or that of another commit: set up and run by their own code, as contenders."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import contenders, processes
from bench.contenders import Contender
from bench.processes import Running
from bench.upstream import model_name
from config import embedded

ENGINE = Path(__file__).with_name("engine.py")
# Where the caller's service is, which is not the one to measure.
ELSEWHERE = ("DATABASE_URL", "REDIS_URL", "HAMIRAN_MODE")
TIER = ["Bench", "--rpm", "100000000", "--tpm", "100000000000", "--concurrency", "100000"]
PRICES = ["--input-toman-per-million", "30000", "--output-toman-per-million", "30000"]
CUSTOMER = ["--mobile", "09121234567", "--credit-toman", "1000000000", "--tier", "Bench"]


@dataclass(frozen=True, slots=True)
class Build:
    """A checkout and the Python of its environment; where all of them are told apart, `name` holds the commit."""

    name: str
    home: Path
    python: Path

    def environment(self, var: Path) -> dict[str, str]:
        return {
            "HAMIRAN_VAR": str(var),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPATH": str(self.home),
        }

    def manage(self, var: Path, *command: str) -> str:
        """What the command of manage.py printed. Raises SystemExit with its output where it fails."""
        done = subprocess.run(
            [str(self.python), "manage.py", *command],
            cwd=self.home, env={**os.environ, **self.environment(var)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{self.name}, manage.py {command[0]}:\n{done.stdout}{done.stderr}")
        return done.stdout


THIS = Build("Hamiran", contenders.ROOT, Path(sys.executable))


def base(commit: str) -> Build:
    """The build that `make bench` made of the commit BENCH_BASE."""
    if not re.fullmatch("[0-9a-f]{7,40}", commit):
        raise SystemExit(
            f"BENCH_BASE: {commit} is not the short name of a commit; `make bench` would find it."
        )
    home = contenders.FOREIGN / f"base-{commit}"
    return Build(f"Hamiran {commit}", home, home / ".venv" / "bin" / "python")


def this_commit() -> str:
    """With `-dirty` where files differ from it."""
    described = ["git", "describe", "--always", "--dirty", "--exclude", "*", "--abbrev=7"]
    return subprocess.run(
        described, cwd=contenders.ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


@contextlib.contextmanager
def running(
    build: Build, logs: Path, upstream_url: str, *, further: Sequence[Sequence[str]] = ()
) -> Iterator[Contender]:
    """One web process and a fresh PostgreSQL and Valkey: keys, limits, holds, captures, records.

    `further`: arguments of `add_model` for each model more.

    Ends with `check_ledger`, and SystemExit where it finds a broken rule.
    """
    for name in ELSEWHERE:
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="hamiran-bench-") as folder, contextlib.ExitStack() as stack:
        var = Path(folder)
        var.chmod(0o755)
        engines = tuple(_engine(stack, build, var, logs, name) for name in ("PostgreSQL", "Valkey"))
        key = _sell(build, var, upstream_url)
        for model in further:
            build.manage(var, "add_model", *model)
        port = contenders.free_port()
        web = processes.start(
            build.name,
            [str(build.python), "-m", "config.web", "--port", str(port)],
            log=_log(logs, build.name), cwd=build.home, env=build.environment(var) | {"PORT": str(port)},
            is_gateway=True,
        )  # fmt: skip
        contender = Contender(
            build.name,
            "",
            contenders.completions(port),
            {"content-type": "application/json", "authorization": f"Bearer {key}"},
            web,
            engines,
            embedded.redis_url(var),
            embedded.database_url(var),
        )
        with contenders.ready(contender):
            yield contender
        print(build.manage(var, "check_ledger"), end="", flush=True)


def _engine(stack: contextlib.ExitStack, build: Build, var: Path, logs: Path, name: str) -> Running:
    """Ends with the stack."""
    kind = name.lower()
    engine = processes.start(
        name,
        [str(build.python), str(ENGINE), kind, str(var)],
        log=_log(logs, f"{build.name} {kind}"), cwd=build.home, env=build.environment(var),
    )  # fmt: skip
    stack.callback(engine.stop, signal.SIGINT)
    engine.wait_until((var / f"{kind}.ready").exists)
    return engine


def _log(logs: Path, name: str) -> Path:
    return logs / f"{name.lower().replace(' ', '-')}.log"


def _sell(build: Build, var: Path, upstream_url: str) -> str:
    """Tables, a tier whose limits are all on and never reached, the models, and a key with enough money.

    With such options alone as the commands of every commit have.
    """
    build.manage(var, "migrate", "--verbosity", "0")
    build.manage(var, "set_tier", *TIER)
    upstream = ["--upstream-url", contenders.base_url(upstream_url), "--upstream-key", "none"]
    for words, every_ms in contenders.PACES:
        build.manage(var, "add_model", model_name(words=words, every_ms=every_ms), *upstream, *PRICES)
    return str(json.loads(build.manage(var, "issue_key", *CUSTOMER, "--json"))["key"])
