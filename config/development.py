"""What `make dev` adds to `manage.py serve`: it notices changed code, and shows on the terminal what is logged."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings

FOLDERS = ("accounts", "config", "keys", "proxy", "wallet")
SUFFIXES = (".py", ".mo")
SHOWN = ("web", "worker")
LOOK_SECONDS = 0.3
HEAD = ("time", "level", "logger", "message", "exception")


def begin(
    *, logs: Path, notice: Callable[[set[Path]], None], say: Callable[[str], None]
) -> "list[asyncio.Task[None]]":
    """Watches and shows until the tasks are cancelled. `notice` gets the files that came, went or changed."""
    followers = [asyncio.create_task(_follow(logs / f"{name}.log", name, say)) for name in SHOWN]
    return [*followers, asyncio.create_task(_watch(notice))]


async def _watch(notice: Callable[[set[Path]], None]) -> None:
    known = _stamps()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        found = _stamps()
        if changed := {path for path, _stamp in known.items() ^ found.items()}:
            notice(changed)
        known = found


def _stamps() -> dict[Path, int]:
    stamps = {}
    for folder in FOLDERS:
        for path in (settings.BASE_DIR / folder).rglob("*"):
            if path.suffix in SUFFIXES:
                try:
                    stamps[path] = path.stat().st_mtime_ns
                except OSError:  # it has just gone
                    continue
    return stamps


async def _follow(log: Path, name: str, say: Callable[[str], None]) -> None:
    """Says what is written from now on. A log that was put aside begins anew."""
    position, rest = _size(log), b""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        size = _size(log)
        if size < position:
            position, rest = 0, b""
        if size > position:
            with log.open("rb") as file:
                file.seek(position)
                written = file.read(size - position)
            position = size
            *lines, rest = (rest + written).split(b"\n")
            for line in lines:
                say(readable(line, name=name))


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def readable(line: bytes, *, name: str) -> str:
    """A line of a log for people: `15:04:05 web INFO completion key_id=3 …`, a traceback below it."""
    try:
        logged: dict[str, Any] = json.loads(line)
        at = datetime.fromisoformat(logged["time"]).astimezone().strftime("%H:%M:%S")
        said = " ".join([at, name, logged["level"], logged["message"]])
    except (ValueError, TypeError, KeyError):  # not of ours
        return f"{name} {line.decode(errors='replace')}"
    details = "".join(f" {key}={value}" for key, value in logged.items() if key not in HEAD and value != "")
    exception = f"\n{logged['exception']}" if "exception" in logged else ""
    return said + details + exception
