"""Customers who cheat, on a service of their own, and what each paid for what was really made: `make cheat`.

CHEAT_ONLY=words runs those customers whose line contains them. Exit status 1 unless everybody paid for at least 99 %,
and the honest for no more than 101 %.
"""

import asyncio
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from bench import cheat_media
from bench.cheat_customers import CUSTOMERS, SEEN_FINISH, Customer
from bench.cheat_upstream import Made, Upstreams

ONLY = os.environ.get("CHEAT_ONLY", "")
ROOT = Path(__file__).resolve().parent.parent
PAID_LEAST, PAID_MOST = 0.99, 1.01
ROUNDS = 2  # what a model has taught by the first request has to hold for the second
AT_ONCE = 5
START_SECONDS, SETTLE_SECONDS = 90, 30
TOTAL_TIMEOUT_SECONDS = 25  # of the service, for the customer who is still streaming then
PROMPT_TOMAN, COMPLETION_TOMAN = 1_000, 4_000  # per million tokens
MICRO_PER_TOMAN = 10_000_000
PROMPT_MICRO, COMPLETION_MICRO = (
    price * MICRO_PER_TOMAN // 10**6 for price in (PROMPT_TOMAN, COMPLETION_TOMAN)
)
CREDIT_TOMAN = 100_000
LEARNT_SECONDS = 6  # in which every process has read the catalogue anew


@dataclass(frozen=True, slots=True)
class Result:
    customer: Customer
    paid_micro: int
    true_micro: float
    refused: int

    @property
    def ratio(self) -> float | None:
        return self.paid_micro / self.true_micro if self.true_micro else None

    @property
    def is_fair(self) -> bool:
        if self.ratio is None:
            return self.customer.refusable and self.refused > 0 and self.paid_micro == 0
        return self.ratio >= PAID_LEAST and not (self.customer.honest and self.ratio > PAID_MOST)

    def line(self) -> str:
        paid, true = self.paid_micro / MICRO_PER_TOMAN, self.true_micro / MICRO_PER_TOMAN
        ratio = "refused" if self.ratio is None else f"{self.ratio:.3f}"
        return (
            f"| {self.customer.what} | {paid:,.2f} | {true:,.2f} | {max(0.0, true - paid):,.2f} | {ratio} |"
            f"{'' if self.is_fair else ' **no**'} |"
        )


async def play(customer: Customer, url: str, key: str, model: str, made: Made, wallet: "Wallets") -> Result:
    """All requests of one customer, one after the other; what the first ones teach is left out of the result."""
    forgiven_paid, forgiven_true, number, refused = await wallet.paid_micro(model), 0.0, 0, 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
        for _round in range(ROUNDS):
            for body in customer.bodies:
                refused += await _ask(http, customer, url, key, {**body, "model": model})
                number += 1
                if number == customer.teaches:
                    forgiven_paid, forgiven_true = await wallet.paid_micro(model), _true_micro(made)
                    await asyncio.sleep(LEARNT_SECONDS)
    return Result(
        customer,
        await wallet.paid_micro(model) - forgiven_paid,
        _true_micro(made) - forgiven_true,
        refused,
    )


def _true_micro(made: Made) -> float:
    return made.price_micro(prompt_micro=PROMPT_MICRO, completion_micro=COMPLETION_MICRO)


async def _ask(
    http: aiohttp.ClientSession, customer: Customer, url: str, key: str, body: dict[str, Any]
) -> int:
    """1 where the service refused."""
    headers = {"Authorization": f"Bearer {key}"}
    path = cheat_media.PATHS.get(customer.protocol, "/chat/completions")
    sent: dict[str, Any] = {"json": body}
    if customer.file:
        form = aiohttp.FormData(body)
        form.add_field("file", customer.file, filename="a.wav", content_type="audio/wav")
        sent = {"data": form}
    async with http.post(f"{url}/v1{path}", headers=headers, **sent) as response:
        if response.status != 200:
            await response.read()
            if response.status >= 500 or response.status == 429:
                print(f"  {customer.what}: {response.status}", file=sys.stderr)
            return 1
        if customer.protocol in cheat_media.PATHS:
            pieces = 0
            async for _piece in response.content.iter_any():
                pieces += 1
                if pieces == customer.leaves:
                    response.close()
                    return 0
            return 0
        if not body.get("stream"):
            await response.read()
            return 0
        deltas = 0
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            choices = json.loads(line[6:]).get("choices") or []
            deltas += sum(1 for choice in choices if (choice.get("delta") or {}))
            is_finished = any(choice.get("finish_reason") for choice in choices)
            if deltas == customer.leaves or (customer.leaves == SEEN_FINISH and is_finished):
                response.close()  # as a program does that is killed
                return 0
            if customer.reads_slowly and deltas % 100 == 0:
                await asyncio.sleep(0.2)
    return 0


class Wallets:
    """What accounts have paid, counted from anywhere, once nothing of theirs is held."""

    def __init__(self, database_url: str, users: dict[str, int]) -> None:
        self._database_url, self._users = database_url, users

    async def paid_micro(self, model: str) -> int:
        deadline = time.monotonic() + SETTLE_SECONDS
        async with await psycopg.AsyncConnection.connect(self._database_url, autocommit=True) as database:
            while True:
                cursor = await database.execute(
                    "SELECT posted_micro, held_micro FROM wallet_wallet WHERE user_id = %s",
                    [self._users[model]],
                )
                posted, held = (await cursor.fetchone()) or (0, 0)
                if not held or time.monotonic() > deadline:
                    return -int(posted)
                await asyncio.sleep(0.1)


async def run(
    url: str, port: int, offers: dict[str, Customer], keys: dict[str, str], wallets: Wallets
) -> list[Result]:
    upstreams = Upstreams({model: customer.engine for model, customer in offers.items()})
    runner = await upstreams.start(port)
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(model: str, customer: Customer) -> Result:
        async with slots:
            return await play(customer, url, keys[model], model, upstreams.book[model], wallets)

    try:
        return list(await asyncio.gather(*(one(model, customer) for model, customer in offers.items())))
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def service(var_dir: Path, port: int) -> Iterator[None]:
    """`manage.py serve` in two web processes, so that what one learns has to reach the other."""
    with (var_dir / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Ctrl-C stops everything" not in (said := (var_dir / "serve.log").read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The service did not come up:\n{said}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(60)


def settle_in(upstream_port: int, offers: dict[str, Customer]) -> tuple[dict[str, str], dict[str, int]]:
    """Puts a model on sale for each customer, by operators' commands; returns keys and users by model."""
    from django.core.management import load_command_class

    from keys.models import APIKey

    known = {
        action.dest for action in load_command_class("proxy", "add_model").create_parser("", "")._actions
    }
    kinds = load_command_class("proxy", "add_model").create_parser("", "").format_help()
    _command("set_tier", "Free", rpm="1000000", tpm="1000000000", concurrency="1000")
    keys, users = {}, {}
    for number, (model, customer) in enumerate(offers.items()):
        offer = {name: value for name, value in customer.offer.items() if name in known}
        prices: dict[str, Any] = {
            "input_toman_per_million": str(PROMPT_TOMAN),
            "output_toman_per_million": str(COMPLETION_TOMAN),
        }
        if customer.protocol in cheat_media.OFFERS:
            prices = {**dict.fromkeys(prices, "0"), "free": True, **cheat_media.OFFERS[customer.protocol]}
            offer["protocols"] = customer.protocol
        if offer.get("kind", "openai") not in kinds:
            offer.pop("kind")
        _command(
            "add_model", model, upstream_url=f"http://127.0.0.1:{upstream_port}/{model}/v1", upstream_key="sk-cheat",
            **prices,
            **{"context_tokens": "100000", "max_output_tokens": "20000"} | {k: str(v) for k, v in offer.items()},
        )  # fmt: skip
        mobile = f"0912{number + 1_000_000:07d}"
        keys[model] = _command("issue_key", mobile=mobile, credit_toman=str(CREDIT_TOMAN))["key"]
        users[model] = APIKey.objects.latest("pk").user_id
    return keys, users


def _command(name: str, *arguments: str, **options: Any) -> dict[str, Any]:
    from django.core.management import call_command

    out = io.StringIO()
    call_command(name, *arguments, json=True, stdout=out, **options)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def main() -> int:
    var_dir = Path(tempfile.mkdtemp(prefix="hamiran-cheat-"))
    var_dir.chmod(0o755)
    for name in ("DATABASE_URL", "REDIS_URL", "LIMITS_URL", "HAMIRAN_MODE", "UPSTREAM_BASE_URL"):
        os.environ.pop(name, None)
    from tests.live import free_port

    port, upstream_port = free_port(), free_port()
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings",
        HAMIRAN_VAR=str(var_dir),
        PORT=str(port),
        WEB_PROCESSES="2",
        UPSTREAM_TOTAL_TIMEOUT_SECONDS=str(TOTAL_TIMEOUT_SECONDS),
        UPSTREAM_STREAM_TIMEOUT_SECONDS=str(TOTAL_TIMEOUT_SECONDS),
    )
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection

    began = time.monotonic()
    offers = {f"m{number}": customer for number, customer in enumerate(CUSTOMERS) if ONLY in customer.what}
    with service(var_dir, port):
        keys, users = settle_in(upstream_port, offers)
        connection.close()
        time.sleep(LEARNT_SECONDS)
        results = asyncio.run(
            run(
                f"http://127.0.0.1:{port}", upstream_port, offers, keys, Wallets(settings.DATABASE_URL, users)
            )
        )
    print("| customer | paid, Toman | true price | uncovered | paid / true | |\n|---|--:|--:|--:|--:|---|")
    for result in results:
        print(result.line())
    unfair = [result for result in results if not result.is_fair]
    uncovered = sum(max(0.0, result.true_micro - result.paid_micro) for result in results) / MICRO_PER_TOMAN
    print(f"\n{len(results)} customers, {uncovered:,.2f} Toman uncovered, {time.monotonic() - began:.0f} s.")
    shutil.rmtree(var_dir, ignore_errors=True)
    if unfair:
        print(f"{len(unfair)} did not pay what their answers cost, or more.")
    return 1 if unfair else 0


if __name__ == "__main__":
    sys.exit(main())
