"""The sandbox's built-in upstream as an ASGI application: honest HTTP around `proxy.sandbox.protocol`."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from proxy.sandbox.protocol import Completion, complete, models
from proxy.sandbox.request import Refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

KEY = "sandbox"
PIECE_DELAY_SECONDS = 0.02
BODY_MAX_BYTES = 32 * 1024 * 1024
NO_SUCH_PATH = Refused(404, "Unknown request URL.", code="unknown_url")
WRONG_METHOD = Refused(405, "Not allowed to do that on this URL.", code="method_not_supported")
WRONG_KEY = Refused(401, "Incorrect API key provided.", code="invalid_api_key")
TOO_LARGE = Refused(413, "The request is too large.")


class SandboxUpstream:
    """Serves `…/chat/completions` and `…/models` under any prefix, to bearers of the key `sandbox`."""

    def __init__(self, *, piece_delay_seconds: float = PIECE_DELAY_SECONDS) -> None:
        self._piece_delay_seconds = piece_delay_seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        try:
            method = _method(scope["path"])
            if scope["method"] != method:
                raise WRONG_METHOD
            if dict(scope["headers"]).get(b"authorization") != f"Bearer {KEY}".encode():
                raise WRONG_KEY
            if method == "GET":
                await _answer(send, 200, models())
                return
            completion = complete(await _body(receive))
        except Refused as refusal:
            await _answer(send, refusal.status, refusal.body)
            return
        if completion.stream:
            await self._stream(completion, receive, send)
        else:
            await _answer(send, 200, completion.whole(int(time.time())))

    async def _stream(self, completion: Completion, receive: Receive, send: Send) -> None:
        await send(_start(200, b"text/event-stream; charset=utf-8"))
        left = asyncio.ensure_future(receive())  # the body is read: what comes next is the client leaving
        try:
            for chunk in completion.chunks(int(time.time())):
                await send({"type": "http.response.body", "body": _event(_json(chunk)), "more_body": True})
                await asyncio.wait((left,), timeout=self._piece_delay_seconds)
                if left.done():
                    return
            await send({"type": "http.response.body", "body": _event(b"[DONE]")})
        finally:
            left.cancel()


def _method(path: str) -> str:
    if path.rstrip("/").endswith("/chat/completions"):
        return "POST"
    if path.rstrip("/").endswith("/models"):
        return "GET"
    raise NO_SUCH_PATH


async def _body(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_MAX_BYTES:
            raise TOO_LARGE
    return bytes(body)


async def _answer(send: Send, status: int, content: dict[str, Any]) -> None:
    await send(_start(status, b"application/json"))
    await send({"type": "http.response.body", "body": _json(content)})


def _start(status: int, content_type: bytes) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]}


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def _json(content: dict[str, Any]) -> bytes:
    # A prompt may carry half of a surrogate pair, which no UTF-8 can.
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
