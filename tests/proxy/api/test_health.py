"""What a probe of a process costs."""

import asyncio
import threading

import pytest

from proxy.api import health


async def ask_at_once(probes: int, go_on: threading.Event) -> list[str]:
    asking = [asyncio.ensure_future(health._migrations()) for _ in range(probes)]
    await asyncio.sleep(0)
    asking[0].cancel()  # the first prober leaves, and the look goes on for the others
    go_on.set()
    return [
        answer for answer in await asyncio.gather(*asking, return_exceptions=True) if isinstance(answer, str)
    ]


def test_probes_at_once_share_one_look_at_the_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, looks = threading.Event(), []

    def look() -> str:
        looks.append(go_on.wait(10))
        return "pending"

    monkeypatch.setattr(health, "_look", None)
    monkeypatch.setattr(health, "_look_at_migrations", look)
    assert asyncio.run(ask_at_once(10, go_on)) == ["pending"] * 9
    assert looks == [True]
    assert asyncio.run(ask_at_once(2, go_on)) == ["pending"]
    assert looks == [True, True]
