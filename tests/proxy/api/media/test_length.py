"""Sound that cannot be measured in time: refused as what it is, and nothing goes on running."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from proxy.api.audio import length
from proxy.errors import APIError
from tests.live import eventually


@pytest.fixture
def slow_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """In the place of the one that measures; it writes down its number and goes on for ever."""
    program = tmp_path / "slow.py"
    program.write_text(
        "import os, pathlib, time\n"
        "pathlib.Path(__file__).with_name('pid').write_text(str(os.getpid()))\n"
        "time.sleep(3600)\n"
    )
    monkeypatch.setattr(length, "PROGRAM", program)
    return tmp_path / "pid"


def is_running(pid_file: Path) -> bool:
    return Path(f"/proc/{pid_file.read_text()}").exists()


def test_a_file_that_takes_too_long_is_refused(slow_program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length, "WAIT_SECONDS", 1.0)
    with tempfile.TemporaryFile() as file, pytest.raises(APIError) as refused:
        asyncio.run(length.measure(file, param="file"))
    assert (refused.value.code, refused.value.param) == ("invalid_value", "file")
    assert not is_running(slow_program)


def test_a_client_that_leaves_ends_the_measurement(slow_program: Path) -> None:
    async def leave() -> None:
        with tempfile.TemporaryFile() as file:
            measuring = asyncio.create_task(length.measure(file, param="file"))
            await asyncio.to_thread(eventually, lambda: slow_program.exists() and slow_program.read_text())
            measuring.cancel()
            with pytest.raises(asyncio.CancelledError):
                await measuring

    asyncio.run(leave())
    assert not is_running(slow_program)
