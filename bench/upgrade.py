"""Brings a service of version 0.2.0 that is at work up to this commit, as the manual says: `make rehearse-upgrade`.

The old version gets a checkout and an environment of its own, weeks of use, and two web processes; customers call it
whole and streamed, top up and look at pages. Then the files and packages are replaced under it, and it is told to
reload. Nobody may notice: exit status 1 for one request that failed, or books that do not add up afterwards.
"""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psycopg
from openai import AsyncOpenAI, OpenAIError

from bench.builds import Build
from bench.contenders import ROOT, free_port
from config import embedded

if TYPE_CHECKING:
    from tests.chaos.upstream import BookingUpstream

OLD = os.environ.get("UPGRADE_FROM", "76298cf")  # the last commit of version 0.2.0
BEFORE_SECONDS, AFTER_SECONDS = 10.0, 20.0
RELOAD_SECONDS = 600
CALLERS, PAYERS, READERS = 6, 2, 1
MODEL, PRICE_TOMAN = "rehearsed", 1_000_000
PRICE = PRICE_TOMAN * 10  # Rial per million tokens, or micro-Rial per token
TOPUP_TOMAN = 10_000
CSRF = "c" * 32
WARM_ROUNDS = 8
PAGES = ("/", "/usage/", "/keys/", "/wallet/", "/models/", "/docs/")
SESSION = """
from django.conf import settings
from django.test import Client
from accounts.models import User
browser = Client()
browser.force_login(User.objects.get(mobile="{mobile}"), backend="django.contrib.auth.backends.ModelBackend")
print("session", browser.cookies[settings.SESSION_COOKIE_NAME].value)
"""
# Hours that are over, by their roll-ups and by their records.
ROLLED = """
SELECT (SELECT (sum(requests), sum(errors), sum(completion_tokens), sum(cost_micro))::text
        FROM proxy_rollup WHERE period = 'hour' AND starts_at < now() - interval '3 hours'),
       (SELECT (count(*), count(*) FILTER (WHERE outcome NOT IN ('completed', 'client_left')),
                sum(completion_tokens), sum(cost_micro))::text
        FROM proxy_usagerecord WHERE created_at < (
            SELECT max(starts_at) + interval '1 hour' FROM proxy_rollup
            WHERE period = 'hour' AND starts_at < now() - interval '3 hours'))
"""
CHARGED = "SELECT count(*), sum(cost_micro) FROM proxy_usagerecord WHERE model = %s"
CREDITED = "SELECT count(*) FROM wallet_topup WHERE status = 'credited'"


@dataclass
class Customers:
    """What they did, and what failed. `serials`: of the requests that were answered whole."""

    url: str
    key: str
    session: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    serials: set[int] = field(default_factory=set)
    asked: int = 0
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    async def work(self) -> None:
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(CALLERS):
                group.create_task(self._on_and_on(self._call))
            for _ in range(PAYERS):
                group.create_task(self._on_and_on(lambda: self._top_up(browser)))
            for _ in range(READERS):
                group.create_task(self._on_and_on(lambda: self._look(browser)))

    async def open_every_page(self) -> None:
        """As somebody has in each process of a service at work: 0.2.0 reads a template when it is first shown."""
        for _ in range(WARM_ROUNDS):
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser:
                await asyncio.gather(*(self._page(browser, path) for path in PAGES))

    async def _on_and_on(self, act: Any) -> None:
        while not self.stop.is_set():
            try:
                self.done[await act()] += 1
            except (OpenAIError, aiohttp.ClientError, OSError, AssertionError, TimeoutError) as error:
                self.failed.append(f"{time.strftime('%X')} {error!r}")
            await asyncio.sleep(random.uniform(0.02, 0.2))

    async def _call(self) -> str:
        """With the official SDK, which tries nothing again; the serial number is in the prompt, for upstream's book."""
        from tests.chaos.upstream import Plan, text_of

        serial, self.asked = self.asked, self.asked + 1
        plan = Plan(serial, "counted", random.uniform(0, 0.3), random.uniform(0, 0.1))
        question: Any = {"model": MODEL, "messages": [{"role": "user", "content": f"{plan} A question."}]}
        async with AsyncOpenAI(api_key=self.key, base_url=f"{self.url}/v1", max_retries=0, timeout=60) as sdk:
            if serial % 2:
                answer = (await sdk.chat.completions.create(**question)).choices[0].message.content
            else:
                stream = await sdk.chat.completions.create(**question, stream=True)
                answer = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
        assert answer == text_of(serial), f"{serial} was answered {answer!r}"
        self.serials.add(serial)
        return "streamed calls" if serial % 2 == 0 else "whole calls"

    async def _top_up(self, browser: aiohttp.ClientSession) -> str:
        at_gateway = await self._page(browser, "/wallet/topups/", amount=str(TOPUP_TOMAN))
        back = await self._page(browser, at_gateway, choice="pay")
        await self._page(browser, back)
        return "top-ups"

    async def _look(self, browser: aiohttp.ClientSession) -> str:
        await self._page(browser, random.choice(PAGES))
        return "pages"

    async def _page(self, browser: aiohttp.ClientSession, path: str, **form: str) -> str:
        """Where it sends the browser, if anywhere."""
        filled = {"csrfmiddlewaretoken": CSRF, **form} if form else None
        asked = browser.request(
            "POST" if form else "GET", f"{self.url}{path}", data=filled,
            headers={"Cookie": f"sessionid={self.session}; csrftoken={CSRF}"}, allow_redirects=False,
        )  # fmt: skip
        async with asked as response:
            await response.read()
            assert response.status in ({302, 303} if form else {200, 302, 303}), f"{path}: {response.status}"
            return response.headers.get("Location", "").removeprefix(self.url)


def main() -> int:
    for name in ("DATABASE_URL", "REDIS_URL", "HAMIRAN_MODE"):
        os.environ.pop(name, None)
    folder = Path(tempfile.mkdtemp(prefix="hamiran-upgrade-"))
    folder.chmod(0o755)
    try:
        faults = asyncio.run(rehearse(folder))
    except BaseException:
        print(f"See {folder}.")
        raise
    for fault in faults[:30]:
        print(" -", fault)
    if faults:
        print(f"{len(faults)} FAULTS; logs are in {folder}/var/logs")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print("No request failed, every book adds up.")
    return 0


async def rehearse(folder: Path) -> list[str]:
    from tests.chaos.upstream import BookingUpstream

    home, var = folder / "hamiran", folder / "var"
    check_out(OLD, home)
    build = Build("Hamiran", home, home / ".venv" / "bin" / "python")
    upstream = BookingUpstream(free_port())
    await upstream.start()
    port = free_port()
    os.environ.update(
        WEB_PROCESSES="2", PORT=str(port), TOPUP_DAILY_MAX_TOMAN="1000000000", TOPUP_STARTS_PER_HOUR="1000000",
    )  # fmt: skip
    service = serve(build, var)
    with service:
        try:
            await said(service, "Ctrl-C stops everything")
            customers = settle_in(build, var, f"http://127.0.0.1:{port}", upstream)
            await customers.open_every_page()
            working = asyncio.create_task(customers.work())
            await asyncio.sleep(BEFORE_SECONDS)
            before = sum(customers.done.values())
            print(
                f"{before} requests to the old version; now its files and packages are replaced", flush=True
            )
            await asyncio.to_thread(check_out, "HEAD", home)
            print("told to reload", flush=True)
            service.send_signal(signal.SIGUSR1)
            print(await said(service, "Reloaded in", "Not reloaded"), flush=True)
            meanwhile = sum(customers.done.values()) - before
            await asyncio.sleep(AFTER_SECONDS)
            customers.stop.set()
            await working
            after = sum(customers.done.values()) - before - meanwhile
            print(
                f"{meanwhile} meanwhile, {after} to the new one: {dict(customers.done)}, {len(customers.failed)} failed"
            )
            return [*customers.failed, *faults_of_books(build, var, customers, upstream)]
        finally:
            service.send_signal(signal.SIGINT)
            await upstream.close()


def serve(build: Build, var: Path) -> "subprocess.Popen[str]":
    env = {**os.environ, **build.environment(var)}
    return subprocess.Popen(
        [str(build.python), "manage.py", "serve"],
        cwd=build.home, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def check_out(commit: str, home: Path) -> None:
    """As `git pull && make .venv/runtime` does: files that the commit does not have are gone."""
    git = ["git", "-C", str(ROOT)]
    listed = subprocess.run([*git, "ls-tree", "-rz", "--name-only", commit], capture_output=True, check=True)
    kept = {home / os.fsdecode(name) for name in listed.stdout.split(b"\0")} | {home / ".venv"}
    home.mkdir(exist_ok=True)
    for folder, folders, files in os.walk(home):
        folders[:] = [name for name in folders if name not in {".venv", "__pycache__"}]
        for file in files:
            if Path(folder, file) not in kept:
                Path(folder, file).unlink()
    archive = subprocess.run([*git, "archive", commit], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(home)], input=archive.stdout, check=True)
    subprocess.run(["make", ".venv/runtime"], cwd=home, check=True, stdout=subprocess.DEVNULL)


async def said(service: "subprocess.Popen[str]", *wanted: str) -> str:
    """The first line of what the service prints that holds one of these."""
    assert service.stdout is not None
    async with asyncio.timeout(RELOAD_SECONDS):
        while line := await asyncio.to_thread(service.stdout.readline):
            if any(words in line for words in wanted):
                return line.strip()
            print("   ", line.rstrip(), flush=True)
    raise SystemExit("The service ended.")


def settle_in(build: Build, var: Path, url: str, upstream: "BookingUpstream") -> Customers:
    """With the commands of the old version: weeks of use, a model, a rich customer."""
    build.manage(var, "seed_demo", "--days", "30")
    build.manage(
        var, "set_tier", "Bench", "--rpm", "100000000", "--tpm", "100000000000", "--concurrency", "100000"
    )
    price = ["--input-toman-per-million", str(PRICE_TOMAN), "--output-toman-per-million", str(PRICE_TOMAN)]
    build.manage(var, "add_model", MODEL, "--upstream-url", upstream.url, "--upstream-key", "none", *price)
    made = build.manage(
        var,
        "issue_key",
        "--mobile",
        "09121234567",
        "--credit-toman",
        "1000000000",
        "--tier",
        "Bench",
        "--json",
    )
    shown = build.manage(var, "shell", "--no-imports", "-c", SESSION.format(mobile="+989121234567"))
    session = re.search(r"^session (\S+)$", shown, re.M)
    assert session is not None, shown
    time.sleep(4)  # until every process has read the model
    return Customers(url, json.loads(made)["key"], session[1])


def faults_of_books(build: Build, var: Path, customers: Customers, upstream: "BookingUpstream") -> list[str]:
    from tests.chaos.upstream import usage_of

    faults = []
    checked = json.loads(build.manage(var, "check_ledger", "--all", "--json"))
    if not checked["ok"]:
        faults.append(f"check_ledger: {checked['broken']}")
    due = sum(sum(usage_of(serial)) * PRICE for serial in customers.serials)
    with psycopg.connect(embedded.database_url(var)) as database:
        count, paid = database.execute(CHARGED, [MODEL]).fetchall()[0]
        if (count, paid) != (len(customers.serials), due):
            faults.append(
                f"{len(customers.serials)} answers cost {due}, {count} records say {paid} micro-Rial"
            )
        [credited] = database.execute(CREDITED).fetchall()[0]
        if credited < customers.done["top-ups"]:
            faults.append(f"{customers.done['top-ups']} payments, {credited} credited")
        rolled, recorded = database.execute(ROLLED).fetchall()[0]
        if rolled != recorded:
            faults.append(f"roll-ups say {rolled}, records {recorded}")
    calls = sum(served.calls for served in upstream.book.values())
    print(
        f"{count} calls paid, {calls} made upstream, {credited} top-ups credited; roll-ups and records: {rolled}"
    )
    return faults


if __name__ == "__main__":
    sys.exit(main())
