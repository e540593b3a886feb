"""Everything on one machine: engines, tables, catalogue, web processes, Celery worker and beat, until it is stopped.

SIGUSR1 brings the code and the files of secrets that are on the disk by then into service, without a failed request.
"""

import asyncio
import contextlib
import errno
import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand
from prometheus_client.multiprocess import mark_process_dead

from config import backups, data_folder, development, embedded, wal_archive
from config.env import envstr
from config.listening import bind
from config.supervisor import Child, KeepsDyingError, Supervisor

READY_TIMEOUT_SECONDS = 60
DEMO_MODEL = "gemini-3.1-flash-lite-preview"

T = TypeVar("T")


class RefusedError(Exception):
    """The run cannot begin, or not go on; the message says why and what to do."""


class Command(BaseCommand):
    help = "Runs the whole service on this machine until Ctrl-C or SIGTERM."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            host = envstr("HOST", "127.0.0.1")
            with data_folder.held(settings.VAR_DIR), _address(host, settings.PORT) as listening:
                asyncio.run(_serve(host, listening))
        except (RefusedError, data_folder.Unavailable, KeepsDyingError, embedded.EngineError) as error:
            _say(f"\n{error}", file=sys.stderr)
            sys.exit(1)
        _say("Stopped; no process is left.")


async def _serve(host: str, listening: socket.socket) -> None:
    logs = settings.VAR_DIR / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    _count_together()
    supervisor = Supervisor(logs=logs, say=_say)
    changed: set[Path] = set()  # code that is newer than what runs; in development only
    watching: list[asyncio.Task[None]] = []

    def notice(paths: set[Path]) -> None:
        _say(f"Changed: {', '.join(sorted(str(path.relative_to(settings.BASE_DIR)) for path in paths))}")
        changed.update(paths)
        os.kill(os.getpid(), signal.SIGUSR1)

    async def start() -> None:
        began = time.monotonic()
        _say(f"Hamiran ({settings.MODE}), data in {settings.VAR_DIR}")
        await _start_engines(supervisor)
        await _step("Tables", lambda: call_command("migrate", interactive=False, verbosity=0))
        await _step("Static files", _collect_static)
        await _step("Catalogue", lambda: call_command("load_catalogue", stdout=io.StringIO()))
        key = await _step("Demo key", _demo_key) if settings.SANDBOX else None
        supervisor.start(*_celery())
        supervisor.start(*[_web(listening)] * settings.WEB_PROCESSES)
        await _step("Web server, Celery worker and beat", lambda: _wait_until_ready(host))
        if settings.DEVELOPMENT:
            watching.extend(development.begin(logs=logs, notice=notice, say=_say))
        _welcome(key, time.monotonic() - began)

    async def reload() -> None:
        """Each in a process of its own, because this one goes on with the code that it began with."""
        began = time.monotonic()
        _say("Reloading")
        if not settings.DEVELOPMENT or any("migrations" in path.parts for path in changed):
            await _step("Tables", lambda: _manage("migrate", "--noinput", "--verbosity", "0"))
        if not settings.DEVELOPMENT:
            # Nothing is cleared: pages that are open, and processes that still run, name the files that were.
            await _step("Static files", lambda: _manage("collectstatic", "--noinput", "--verbosity", "0"))
        changed.clear()
        await supervisor.replace("web", ready_seconds=READY_TIMEOUT_SECONDS)
        for name in ("worker", "beat"):
            await supervisor.restart(name)
        _say(f"Reloaded in {time.monotonic() - began:.1f} s.")

    # The web processes have the socket, too. If it stayed open here, connections would queue that nobody serves.
    await supervisor.run(start, reload=reload, on_stop=listening.close)


def _count_together() -> None:
    """Whichever process is asked for /metrics speaks for all that are started from here."""
    folder = settings.VAR_DIR / "metrics"
    shutil.rmtree(folder, ignore_errors=True)  # counters begin anew with the service
    folder.mkdir(mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


async def _start_engines(supervisor: Supervisor) -> None:
    """Starts those that no URL names elsewhere, and waits for both in any case."""
    own = []
    own_postgres = embedded.database_url(settings.VAR_DIR) == settings.DATABASE_URL
    if own_postgres:
        argv = await _step("PostgreSQL's folder", lambda: embedded.prepare_postgres(settings.VAR_DIR))
        own.append(Child(name="postgres", argv=argv, leashed=True, stop=signal.SIGINT, force=signal.SIGQUIT))
    if embedded.redis_url(settings.VAR_DIR) == settings.REDIS_URL:
        own.append(Child(name="valkey", argv=embedded.prepare_valkey(settings.VAR_DIR), leashed=True))
    supervisor.start(*own)
    await _step("PostgreSQL", lambda: embedded.wait_for_postgres(settings.DATABASE_URL, own=own_postgres))
    if own_postgres and settings.WAL_ARCHIVE is not None:
        archive = settings.WAL_ARCHIVE
        supervisor.start(await _step("Archive of all changes", lambda: _archive(archive)))
    await _step("Valkey", lambda: embedded.wait_for_redis(settings.REDIS_URL))


def _archive(folder: Path) -> Child:
    try:
        return wal_archive.receiver(folder)
    except (backups.BackupError, OSError) as error:
        raise RefusedError(f"WAL_ARCHIVE cannot be used: {error}") from None


def _celery() -> list[Child]:
    celery = [sys.executable, "-m", "celery", "-A", "config"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]  # there is one worker
    schedule = ["--schedule", str(settings.VAR_DIR / "celerybeat-schedule"), "--pidfile="]
    return [
        Child(
            name="worker",
            on_end=mark_process_dead,
            argv=[*celery, "worker", *quiet],
        ),
        Child(name="beat", argv=[*celery, "beat", *schedule]),
    ]


def _web(listening: socket.socket) -> Child:
    """All of them listen on one socket, which is held here: what arrives while one is replaced waits for another."""
    return Child(
        name="web",
        argv=[sys.executable, "-m", "config.web", "--fd", str(listening.fileno())],
        fds=(listening.fileno(),),
        on_end=mark_process_dead,
        # Its second signal: it settles and tells everybody at once. Not SIGTERM, of which two in a row may be one.
        force=signal.SIGINT,
        grace_seconds=settings.SHUTDOWN_DELAY_SECONDS + settings.SHUTDOWN_GRACE_SECONDS + 15,
    )


def _manage(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, settings.BASE_DIR / "manage.py", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RefusedError(f"{arguments[0]} failed:\n{done.stdout}{done.stderr}")


def _collect_static() -> None:
    """Collects when a source file came, went or changed: hashing and compressing them all takes seconds."""
    if settings.DEVELOPMENT:  # they are served from where they are written
        Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
        return
    seen = hashlib.sha256()
    for finder in get_finders():
        for path, storage in sorted(finder.list([]), key=lambda found: found[0]):
            stat = os.stat(storage.path(path))
            seen.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    if not stamp.exists() or stamp.read_text() != seen.hexdigest():
        call_command("collectstatic", interactive=False, clear=True, verbosity=0)
        stamp.write_text(seen.hexdigest())


def _demo_key() -> str:
    out = io.StringIO()
    call_command("demo_key", json=True, stdout=out)
    return str(json.loads(out.getvalue())["key"])


def _wait_until_ready(host: str) -> None:
    """Asks as the TLS proxy in front of a production site would."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    headers = {"Host": urlsplit(settings.BASE_URL).netloc, "X-Forwarded-Proto": "https"}
    deadline, answer = time.monotonic() + READY_TIMEOUT_SECONDS, "no answer"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(local, settings.PORT, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz", headers=headers)
            response = connection.getresponse()
            answer = f"{response.status} {response.read(500).decode(errors='replace')}"
            if response.status == 200:
                return
        time.sleep(0.05)
    raise RefusedError(f"The web server did not become ready in {READY_TIMEOUT_SECONDS} s: {answer}")


def _welcome(key: str | None, seconds: float) -> None:
    url = f"http://127.0.0.1:{settings.PORT}" if settings.SANDBOX else settings.BASE_URL
    lines = ["", f"Ready: {url}/", ""]
    if key is not None:
        question = {"model": DEMO_MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
        call = (
            f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' "
            f"-H 'Authorization: Bearer {key}' -d '{json.dumps(question)}'"
        )
        lines += [f"Demo key: {key}", "A first call, to paste into another terminal:", "", call, ""]
    lines += [
        f"Admin: {url}/admin/ (make an admin: .venv/bin/python manage.py create_admin --mobile 0912…)",
        f"Logs: {settings.VAR_DIR / 'logs'}",
        f"Started in {seconds:.1f} s. Ctrl-C stops everything.",
    ]
    _say("\n".join(lines))


async def _step(label: str, work: Callable[[], T]) -> T:
    """Runs blocking work beside the event loop and says how long it took."""
    began = time.monotonic()
    done = await _in_thread(work)
    _say(f"  {label:<36} {time.monotonic() - began:5.1f} s")
    return done


async def _in_thread(work: Callable[[], T]) -> T:
    """Like asyncio.to_thread, but a run that is stopped does not wait for the work to end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(done: T | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(done)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def target() -> None:
        done, error = None, None
        try:
            done = work()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, done, error)

    threading.Thread(target=target, daemon=True).start()
    return await future


def _address(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except OSError as error:
        reason = (
            "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
        )
        raise RefusedError(
            f"Port {port} on {host} {reason}. Nothing was started. "
            f"Choose another port, for example: PORT={port + 1 if port < 65535 else 8000} make run"
        ) from None


def _say(text: str, file: Any = None) -> None:
    """Prints at once; a terminal that has gone away does not stop the service from stopping in order."""
    with contextlib.suppress(OSError):
        print(text, file=file or sys.stdout, flush=True)
