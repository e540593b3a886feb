"""The whole service as separate processes that can be killed, frozen and started again one by one."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg
import redis
from django.db import connection

from config import embedded, leash
from tests.fault_proxy import POSTGRES_SOCKET, FaultProxy
from tests.live import ROOT, free_port

READY_SECONDS = 180  # on a machine that others keep busy, too
STOP_SECONDS = 20


class NotReady(Exception):
    """A part did not come back in time."""


@dataclass
class Part:
    """One process, or one with its children. `argv` is asked for at every start and may block."""

    name: str
    argv: Callable[[], list[str]]
    is_ready: Callable[[], Awaitable[bool]]
    env: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    wanted: bool = False
    deaths: int = 0

    async def start(self) -> None:
        argv = await asyncio.to_thread(self.argv)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - a leash pulls when its thread ends: this one stays
                argv, cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.wanted = True

    def family(self) -> list[psutil.Process]:
        """The process and everything below it."""
        assert self.process is not None
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: signal.Signals) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    async def kill(self) -> None:
        """kill -9, children included, and waits until all are gone."""
        self.wanted = False
        family = self.family()
        self.signal(signal.SIGKILL)
        assert self.process is not None
        await asyncio.to_thread(self.process.wait)
        await asyncio.to_thread(psutil.wait_procs, family[1:], 10)

    async def stop(self) -> None:
        """SIGTERM, and the time it takes to finish what it has begun; kill -9 where that is too long."""
        self.wanted = False
        assert self.process is not None
        self.process.terminate()
        try:
            await asyncio.to_thread(self.process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            await self.kill()

    @property
    def died_by_itself(self) -> bool:
        return self.wanted and self.process is not None and self.process.poll() is not None

    async def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not await self.is_ready():
            if self.died_by_itself:
                self.deaths += 1
                await self.start()
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} did not come back; see {self.log}")
            await asyncio.sleep(0.05)


@dataclass
class Stack:
    """Two web processes, each behind a fault proxy of its own to PostgreSQL; worker, beat, Valkey."""

    var_dir: Path
    http: aiohttp.ClientSession
    ports: list[int] = field(default_factory=lambda: [free_port(), free_port()])
    proxies: list[FaultProxy] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    async def start_engines(self) -> None:
        (self.var_dir / "logs").mkdir(parents=True, exist_ok=True)
        self._add("postgres", lambda: embedded.prepare_postgres(self.var_dir), self._postgres_ready)
        self._add("valkey", lambda: embedded.prepare_valkey(self.var_dir), self._valkey_ready)
        for part in self.parts.values():
            await part.start()
        await asyncio.to_thread(embedded.wait_for_postgres, self.database_url)
        await self.wait_until_ready()

    async def start_service(self) -> None:
        celery = [sys.executable, "-m", "celery", "-A", "config"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        worker = [*celery, "worker", "--pool", "threads", "--concurrency", "4", *quiet]
        beat = [*celery, "beat", "--schedule", str(self.var_dir / "celerybeat-schedule"), "--pidfile="]
        self._add("worker", lambda: leash.argv(worker), self._running("worker"))
        self._add("beat", lambda: leash.argv(beat), self._running("beat"))
        for number, port in enumerate(self.ports):
            folder = self.var_dir / f"p{number}"
            proxy = FaultProxy(
                listen=folder / POSTGRES_SOCKET, server=embedded.socket_dir(self.var_dir) / POSTGRES_SOCKET
            )
            await proxy.start()
            self.proxies.append(proxy)
            self._add(
                f"web-{number}",
                lambda port=port: leash.argv(_web(port)),  # type: ignore[misc]
                lambda url=self.urls[number]: self._web_ready(url),  # type: ignore[misc]
                DATABASE_URL=f"postgresql://hamiran@/hamiran?host={folder}",
                PORT=str(port),
                SHUTDOWN_GRACE_SECONDS="3",
            )
        for name in ("worker", "beat", "web-0", "web-1"):
            await self.parts[name].start()
        await self.wait_until_ready()

    @property
    def database_url(self) -> str:
        return embedded.database_url(self.var_dir)

    async def wait_until_ready(self) -> None:
        for part in self.parts.values():
            await part.wait_until_ready()

    async def stop(self) -> None:
        for part in reversed(self.parts.values()):
            if part.process is not None and part.process.poll() is None:
                await part.kill()
        for proxy in self.proxies:
            await proxy.close()

    def _add(
        self, name: str, argv: Callable[[], list[str]], is_ready: Callable[[], Awaitable[bool]], **env: str
    ) -> None:
        log = self.var_dir / "logs" / f"{name}.log"
        self.parts[name] = Part(name, argv, is_ready, {**os.environ, **env}, log)

    async def _postgres_ready(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(
                self.database_url, connect_timeout=2
            ) as database:
                await database.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    async def _valkey_ready(self) -> bool:
        def ping() -> bool:
            with redis.Redis.from_url(embedded.redis_url(self.var_dir), socket_timeout=2) as client:
                try:
                    return bool(client.ping())
                except redis.RedisError:
                    return False

        return await asyncio.to_thread(ping)

    def _running(self, name: str) -> Callable[[], Awaitable[bool]]:
        async def running() -> bool:
            process = self.parts[name].process
            return process is not None and process.poll() is None

        return running

    async def _web_ready(self, url: str) -> bool:
        try:
            async with self.http.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(total=5)) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False


def _web(port: int) -> list[str]:
    return [sys.executable, "-m", "config.web", "--port", str(port)]


async def with_orm(work: Callable[..., Any], *args: Any) -> Any:
    """Django's ORM from here, in a thread and on a connection of its own: the last one may have been killed."""

    def carry_out() -> Any:
        try:
            return work(*args)
        finally:
            connection.close()

    return await asyncio.to_thread(carry_out)
