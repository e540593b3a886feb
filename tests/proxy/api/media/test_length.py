"""Sound that cannot be measured in time: refused as what it is, nothing goes on running, and nobody else waits."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

import pytest

from proxy.api.audio import length
from proxy.errors import APIError
from tests.live import eventually
from tests.proxy.api.media import sounds


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
        asyncio.run(length.measure(file, param="file", user_id=1))
    assert (refused.value.code, refused.value.param) == ("invalid_value", "file")
    assert not is_running(slow_program)


def test_a_client_that_leaves_ends_the_measurement(slow_program: Path) -> None:
    async def leave() -> None:
        with tempfile.TemporaryFile() as file:
            measuring = asyncio.create_task(length.measure(file, param="file", user_id=1))
            await asyncio.to_thread(eventually, lambda: slow_program.exists() and slow_program.read_text())
            measuring.cancel()
            with pytest.raises(asyncio.CancelledError):
                await measuring

    asyncio.run(leave())
    assert not is_running(slow_program)


def test_slow_files_of_one_account_do_not_hold_up_another(
    slow_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_program = slow_program.with_name("quick.py")
    quick_program.write_text("print(7)")

    async def measured(user_id: int) -> int:
        with tempfile.TemporaryFile() as file:
            return await length.measure(file, param="file", user_id=user_id)

    async def everybody() -> int:
        slow = [asyncio.create_task(measured(user_id=1)) for _ in range(3 * length.AT_ONCE)]
        await asyncio.to_thread(eventually, lambda: slow_program.exists() and slow_program.read_text())
        monkeypatch.setattr(length, "PROGRAM", quick_program)
        seconds = await measured(user_id=2)
        for one in slow:
            one.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await one
        return seconds

    assert asyncio.run(everybody()) == 7
    assert not is_running(slow_program)


def test_an_account_that_waits_for_itself_too_long_is_told_to_come_later(
    slow_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def twice() -> None:
        with tempfile.TemporaryFile() as file:
            first = asyncio.create_task(length.measure(file, param="file", user_id=1))
            await asyncio.to_thread(eventually, lambda: slow_program.exists() and slow_program.read_text())
            monkeypatch.setattr(length, "WAIT_SECONDS", 0.1)
            with pytest.raises(APIError) as refused:
                await length.measure(file, param="file", user_id=1)
            assert refused.value.code == "service_unavailable"
            first.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await first

    asyncio.run(twice())


def test_a_sound_is_measured_after_all_turns_were_given_up() -> None:
    async def one_by_one() -> list[int]:
        with tempfile.TemporaryFile() as file:
            file.write(sounds.wav(1.5))
            return [await length.measure(file, param="file", user_id=1) for _ in range(3)]

    assert asyncio.run(one_by_one()) == [2, 2, 2]
