"""Model servers that misbehave, and the book of what each really made: the upstreams of `make cheat`.

A token is a fixed piece of text, so that the truth is known without a tokenizer. Made counts from the moment that a
server makes it; one that bills on makes everything, whether somebody reads it or not.
"""

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from bench import cheat_media

TEMPLATE_TOKENS = 8
ENGLISH, PERSIAN, SPACES = " cat", "سلا", " " * 16  # 4, 6 and 16 bytes
BODY_MAX_BYTES = 2**24

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Engine:
    """`makes`: tokens per choice where nothing caps them. `caps`: request fields that do, the first one given wins.
    `counts`: fields that ask for more choices. `token`, `letters`: a token's text; sent letter by letter.
    `report`: honest, zeros, early, one_choice, none. `bills_after_disconnect`: it goes on when its reader has left.
    `burst`, `pause_seconds`: tokens made at once, and the rest after them; burst 0: everything at once.
    `reasons`: everything it says is reasoning. `dearer`: by what a request multiplies the price here.
    """

    makes: int = 1_000
    caps: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    counts: tuple[str, ...] = ("n",)
    token: str = ENGLISH
    letters: bool = False
    report: str = "honest"
    bills_after_disconnect: bool = False
    burst: int = 8
    pause_seconds: float = 0.008
    reasons: bool = False
    prompt_bytes_per_token: float = 4
    prompt_tokens_more: int = 0
    dearer: Callable[[Body], float] = field(default=lambda _body: 1.0)

    def prompt_tokens(self, body: Body) -> int:
        text = sum(len(text.encode()) for name, value in body.items() for text in _texts(name, value))
        return math.ceil(text / self.prompt_bytes_per_token) + TEMPLATE_TOKENS + self.prompt_tokens_more

    def answer_tokens(self, body: Body) -> int:
        cap = next((int(body[name]) for name in self.caps if body.get(name) is not None), self.makes)
        return min(cap, self.makes)

    def choices(self, body: Body) -> int:
        return max(int(body.get(name) or 1) for name in self.counts)


def _texts(name: str, value: Any) -> list[str]:
    """What of a field goes into the prompt: texts of messages and documents, definitions as JSON; no media."""
    if name in {"functions", "tools", "response_format"}:
        return [json.dumps(value, ensure_ascii=False, separators=(",", ":"))]
    if name not in {"messages", "documents"}:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in _texts(name, item)]
    if isinstance(value, dict):
        return [
            text
            for key, item in value.items()
            if key not in {"role", "image_url"}
            for text in _texts(name, item)
        ]
    return []


@dataclass(slots=True)
class Made:
    """What an engine made so far, in tokens; `price_micro` at given prices, dearer requests at theirs.

    `pieces_micro`: what its images, characters and seconds cost.
    """

    prompt: float = 0
    completion: float = 0
    pieces_micro: float = 0
    requests: int = 0

    def price_micro(self, *, prompt_micro: int, completion_micro: int) -> float:
        return self.prompt * prompt_micro + self.completion * completion_micro + self.pieces_micro


class Upstreams:
    """One server on loopback for all engines; the first part of the path names one."""

    def __init__(self, engines: dict[str, Engine]) -> None:
        self._engines = engines
        self.book: dict[str, Made] = defaultdict(Made)

    async def start(self, port: int) -> web.AppRunner:
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        app.router.add_post("/{engine}/v1/chat/completions", self._complete)
        for protocol, path in cheat_media.PATHS.items():
            app.router.add_post(f"/{{engine}}/v1{path}", partial(self._make, protocol))
        runner = web.AppRunner(app, handler_cancellation=False, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    async def _make(self, protocol: str, request: web.Request) -> web.StreamResponse:
        made, fields = self.book[request.match_info["engine"]], await cheat_media.fields_of(request)
        made.requests += 1
        made.pieces_micro += cheat_media.made_micro(protocol, fields)
        return await cheat_media.answer(protocol, request, fields)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["engine"]
        engine, made, body = self._engines[name], self.book[name], await request.json()
        factor = engine.dearer(body)
        prompt, tokens, choices = engine.prompt_tokens(body), engine.answer_tokens(body), engine.choices(body)
        made.requests += 1
        made.prompt += prompt * factor
        if not body.get("stream"):
            made.completion += tokens * choices * factor
            return web.json_response(_whole(engine, prompt, tokens, choices, body))
        if engine.bills_after_disconnect:
            made.completion += tokens * choices * factor
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        try:
            await response.prepare(request)
            await self._stream(engine, made, response, prompt, tokens, choices, factor)
        except ConnectionError:
            pass  # the reader left; what was made until now is in the book
        return response

    async def _stream(
        self, engine: Engine, made: Made, response: web.StreamResponse,
        prompt: int, tokens: int, choices: int, factor: float,
    ) -> None:  # fmt: skip
        what = "reasoning_content" if engine.reasons else "content"
        for number in range(tokens):
            for choice in range(choices):
                made.completion += 0 if engine.bills_after_disconnect else factor
                for piece in engine.token if engine.letters else [engine.token]:
                    await response.write(_event([_choice(choice, {what: piece})]))
            if number == 0 and engine.report == "early":
                await response.write(_event([], usage=_usage(prompt, 1)))
            if engine.burst and number % engine.burst == engine.burst - 1:
                await asyncio.sleep(engine.pause_seconds)
        finish = "length" if tokens < engine.makes else "stop"
        await response.write(_event([_choice(choice, {}, finish) for choice in range(choices)]))
        await asyncio.sleep(0.1)  # where clients leave who have seen the end of their answer
        usage = _reported(engine, prompt, tokens, choices)
        if usage is not None:
            await response.write(_event([], usage=usage))
        await response.write(b"data: [DONE]\n\n")


def _reported(engine: Engine, prompt: int, tokens: int, choices: int) -> Body | None:
    return {
        "honest": _usage(prompt, tokens * choices),
        "one_choice": _usage(prompt, tokens),
        "zeros": _usage(0, 0),
    }.get(engine.report)


def _usage(prompt: int, completion: int) -> Body:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _choice(index: int, delta: Body, finish: str | None = None) -> Body:
    return {"index": index, "delta": delta, "finish_reason": finish}


def _event(choices: list[Body], **extra: Any) -> bytes:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        **extra,
    }
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _whole(engine: Engine, prompt: int, tokens: int, choices: int, body: Body) -> Body:
    text = engine.token * tokens
    message = {"role": "assistant", "content": text}
    if engine.reasons:
        message = {"role": "assistant", "content": "", "reasoning_content": text}
    finish = "length" if tokens < engine.makes else "stop"
    shown = max(1, min(choices, int(body.get("n") or 1)))  # best_of and the like show fewer than they make
    answer: Body = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": index, "message": message, "finish_reason": finish} for index in range(shown)],
    }  # fmt: skip
    usage = _reported(engine, prompt, tokens, choices)
    return answer if usage is None else {**answer, "usage": usage}
