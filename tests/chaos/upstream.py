"""An upstream that keeps a book: what it was asked, how much of the answer it gave, and the usage it reported."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PROMPT_STEPS, COMPLETION_STEPS = 200, 900


def usage_of(serial: int) -> tuple[int, int]:
    """Prompt and completion tokens, different for every request, so that a charge tells whose it is."""
    return 1 + serial % PROMPT_STEPS, 1 + serial // PROMPT_STEPS % COMPLETION_STEPS


def text_of(serial: int) -> str:
    return f"answer {serial}."


@dataclass
class Served:
    calls: int = 0
    finished: bool = False


@dataclass
class BookingUpstream:
    """`book` by the serial number that a request carries in its `metadata`, beside what is to be done with it."""

    port: int
    book: dict[int, Served] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        plan = body["metadata"]
        served = self.book.setdefault(plan["serial"], Served())
        served.calls += 1
        await asyncio.sleep(plan["think_seconds"])
        if plan["kind"] == "refused":
            return web.json_response({"error": {"message": "overloaded"}}, status=503)
        if body.get("stream"):
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            with contextlib.suppress(ConnectionError):  # our client left, or was killed
                await self._stream(request, response, plan, served)
            return response
        served.finished = True
        return web.json_response(_answer(plan))

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, plan: dict[str, Any], served: Served
    ) -> None:
        await response.prepare(request)
        await response.write(_chunk({"role": "assistant", "content": ""}))
        text = text_of(plan["serial"])
        for at, letter in enumerate(text):
            if plan["kind"] == "broken" and at == len(text) // 2:
                if request.transport is not None:  # else its reader has left before
                    request.transport.close()
                return
            await response.write(_chunk({"content": letter}))
            await asyncio.sleep(plan["pause_seconds"])
        await response.write(_chunk({}, finish="stop"))
        if plan["kind"] != "uncounted":
            await response.write(_event(_body("chat.completion.chunk", choices=[], usage=_usage(plan))))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        served.finished = True


def _answer(plan: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": text_of(plan["serial"])}
    body = _body("chat.completion", choices=[{"index": 0, "message": message, "finish_reason": "stop"}])
    return body if plan["kind"] == "uncounted" else {**body, "usage": _usage(plan)}


def _usage(plan: dict[str, Any]) -> dict[str, int]:
    prompt, completion = usage_of(plan["serial"])
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _chunk(delta: dict[str, str], *, finish: str | None = None) -> bytes:
    return _event(
        _body("chat.completion.chunk", choices=[{"index": 0, "delta": delta, "finish_reason": finish}])
    )


def _body(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": "c", "object": kind, "created": 1, "model": "up", **fields}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
