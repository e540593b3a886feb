"""A data folder as a first start leaves it, which takes a service half a minute to make on a busy machine."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.config.processes import family, gone
from tests.config.service import started


@dataclass(frozen=True)
class Installed:
    """`var_dir`: of a service that has been started once and stopped; `printed`: what it said."""

    var_dir: Path
    printed: list[str]
    left_no_process: bool


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    var_dir = tmp_path_factory.mktemp("installed")
    with started(var_dir) as service:
        children = family(service.process)
        assert len(children) >= 5
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        return Installed(var_dir, service.printed, gone(children))


@pytest.fixture(scope="session")
def copied(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes a copy of it, without what is there only while it runs."""

    def copy() -> Path:
        passing = shutil.ignore_patterns("run", "logs")
        return Path(
            shutil.copytree(installed.var_dir, tmp_path_factory.mktemp("copy") / "var", ignore=passing)
        )

    return copy
