"""How near the truth holds are, over an agent's session: `python -m bench.holds`; with BENCH_BASE of both builds.

Each of TURNS turns is streamed, sends everything before it again and asks for MAX_TOKENS, as agents do. The upstream of
its own counts four bytes a token, reports 95 % of each prompt as cached and answers with ANSWER tokens; HOLDS_UPSTREAM
is the base URL of another one, whose model HOLDS_MODEL is then asked HOLDS_TURNS times.
"""

import asyncio
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import aiohttp
import psycopg
from aiohttp import web

from bench import builds, contenders
from bench.builds import Build
from bench.contenders import Contender

UPSTREAM = os.environ.get("HOLDS_UPSTREAM", "")
UPSTREAM_MODEL = os.environ.get("HOLDS_MODEL", "agent")
TURNS = int(os.environ.get("HOLDS_TURNS", "50"))
MAX_TOKENS = 32_000 if not UPSTREAM else 200  # a small model goes on to its limit
CONTEXT = 200_000
# The tools and the system prompt that an agent sends with every turn, and what each turn adds to the history.
TOOLS_BYTES, SYSTEM_BYTES, RESULT_BYTES, ANSWER = (
    (12_000, 28_000, 3_200, 1_000) if not UPSTREAM else (0, 800, 400, 100)
)
BYTES_PER_TOKEN = 4
CACHED_SHARE, CACHED_PRICE = 0.95, 0.1
INPUT_TOMAN, OUTPUT_TOMAN = 30_000, 150_000
MICRO_PER_TOKEN = 10  # of a price of one Toman per million
SAMPLE_EVERY = 20  # chunks
SENTENCE = "the file was read and its tests were run again "


@dataclass(slots=True)
class Turn:
    """`held` are the holds that were seen, in micro-Rial."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    held: list[int] = field(default_factory=list)
    refused: str = ""

    def cost(self, *, cached_at: float) -> float:
        full = self.prompt_tokens - self.cached_tokens + self.cached_tokens * cached_at
        return (full * INPUT_TOMAN + self.completion_tokens * OUTPUT_TOMAN) * MICRO_PER_TOKEN


def text(length_bytes: int) -> str:
    return (SENTENCE * (length_bytes // len(SENTENCE) + 1))[:length_bytes]


def tokens_of(body: dict[str, Any]) -> int:
    said = sum(len(str(message["content"])) for message in body["messages"]) + len(
        json.dumps(body.get("tools", ""))
    )
    return said // BYTES_PER_TOKEN + 4 * len(body["messages"])


async def answer(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    prompt = tokens_of(body)
    if not body.get("stream"):  # whether the service is up
        message = {"role": "assistant", "content": "Hello!"}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    word = text(BYTES_PER_TOKEN)
    delta = json.dumps({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
    for number in range(ANSWER):
        await response.write(f"data: {delta}\n\n".encode())
        if number % 50 == 0:
            await asyncio.sleep(0.005)
    usage = {
        "prompt_tokens": prompt, "completion_tokens": ANSWER, "total_tokens": prompt + ANSWER,
        "prompt_tokens_details": {"cached_tokens": int(prompt * CACHED_SHARE)},
    }  # fmt: skip
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    for event in (last, {"choices": [], "usage": usage}):
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


@contextmanager
def upstream() -> Iterator[str]:
    """Its base URL. In a thread: nobody waits for the caller here."""
    if UPSTREAM:
        yield UPSTREAM
        return
    loop, port = asyncio.new_event_loop(), contenders.free_port()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def session(contender: Contender) -> list[Turn]:
    tools = [
        {"type": "function", "function": {"name": "edit", "description": text(TOOLS_BYTES), "parameters": {}}}
    ]
    messages = [{"role": "system", "content": text(SYSTEM_BYTES)}]
    turns = []
    async with (
        aiohttp.ClientSession(headers=contender.headers) as client,
        await psycopg.AsyncConnection.connect(contender.database_url, autocommit=True) as database,
    ):
        for number in range(TURNS):
            messages.append({"role": "user", "content": f"{number}: {text(RESULT_BYTES)}"})
            body = {"model": "agent", "messages": messages, "stream": True, "max_tokens": MAX_TOKENS}
            body |= {"stream_options": {"include_usage": True}} | ({"tools": tools} if TOOLS_BYTES else {})
            turn, said = await one_turn(client, contender.url, body, database)
            turns.append(turn)
            messages.append({"role": "assistant", "content": said})
    return turns


async def one_turn(
    client: aiohttp.ClientSession, url: str, body: dict[str, Any], database: psycopg.AsyncConnection[Any]
) -> tuple[Turn, str]:
    turn, said, chunks = Turn(), "", 0
    async with client.post(url, json=body) as response:
        if response.status != 200:
            turn.refused = await response.text()
            return turn, ""
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            chunks += 1
            if chunks % SAMPLE_EVERY == 1:
                rows = await database.execute("SELECT sum(amount_micro) FROM wallet_hold")
                turn.held.append(int((await rows.fetchone() or (0,))[0] or 0))
            for choice in event.get("choices", ()):
                said += choice["delta"].get("content") or ""
            if usage := event.get("usage"):
                turn.prompt_tokens, turn.completion_tokens = (
                    usage["prompt_tokens"],
                    usage["completion_tokens"],
                )
                turn.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return turn, said


def report(build: str, turns: Sequence[Turn]) -> str:
    answered = [turn for turn in turns if turn.completion_tokens]
    by_input = [max(turn.held) / turn.cost(cached_at=1) for turn in answered]
    by_cache = [max(turn.held) / turn.cost(cached_at=CACHED_PRICE) for turn in answered]
    beyond_twice = sum(turn.held[0] > 2 * turn.cost(cached_at=1) for turn in answered)
    longest = max(turn.prompt_tokens for turn in answered)
    cells = [
        build, f"{len(answered)}", f"{longest:,}", f"{mean(by_input):.2f} (to {max(by_input):.2f})",
        f"{mean(by_cache):.2f} (to {max(by_cache):.2f})", f"{len(turns) - len(answered)}", f"{beyond_twice}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def measure(build: Build) -> list[Turn]:
    with upstream() as url, tempfile.TemporaryDirectory(prefix="hamiran-holds-") as folder:
        agent = [
            "agent", "--upstream-url", url, "--upstream-key", "none", "--upstream-model", UPSTREAM_MODEL,
            "--input-toman-per-million", f"{INPUT_TOMAN}", "--output-toman-per-million", f"{OUTPUT_TOMAN}",
            "--context-tokens", f"{CONTEXT}", "--max-output-tokens", f"{MAX_TOKENS}",
        ]  # fmt: skip
        with (
            builds.running(build, Path(folder), f"{url}/chat/completions", further=[agent]) as contender,
            contender.thawed(),
        ):
            return asyncio.run(session(contender))


def main() -> None:
    those = [builds.THIS]
    if base := os.environ.get("BENCH_BASE"):
        those.insert(0, builds.base(base))
    lines = [report(build.name, measure(build)) for build in those]
    print(
        "\n| | turns answered | longest prompt, tokens | largest hold ÷ cost at the price of input "
        "| ÷ cost with the cache | refused | first hold above twice the cost |\n|---|--:|--:|--:|--:|--:|--:|"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
