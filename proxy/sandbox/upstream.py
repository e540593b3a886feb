"""The sandbox's built-in upstream as an ASGI application: honest HTTP around its protocol and its texts."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from proxy.sandbox.media import EVENT_STREAM, Sent, draw, edit, speak, write_down
from proxy.sandbox.protocol import Completion, complete, models
from proxy.sandbox.request import Refused
from proxy.sandbox.texts import TextCompletion, complete_text, embed, moderate

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

Answer = Completion | TextCompletion | Sent | dict[str, Any]

# By the end of the path.
POSTED: dict[str, Callable[[bytes], Answer]] = {
    "/chat/completions": complete,
    "/completions": complete_text,
    "/embeddings": embed,
    "/moderations": moderate,
    "/images/generations": draw,
    "/images/edits": edit,
    "/audio/speech": speak,
    "/audio/transcriptions": write_down,
    "/audio/translations": write_down,
}


class SandboxUpstream:
    """Serves `…/models` and the paths of POSTED under any prefix, to bearers of the key `sandbox`."""

    def __init__(self, *, piece_delay_seconds: float = PIECE_DELAY_SECONDS) -> None:
        self._piece_delay_seconds = piece_delay_seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        try:
            answer_to = _posted(scope["path"])
            if scope["method"] != ("GET" if answer_to is None else "POST"):
                raise WRONG_METHOD
            if dict(scope["headers"]).get(b"authorization") != f"Bearer {KEY}".encode():
                raise WRONG_KEY
            answer = models() if answer_to is None else answer_to(await _body(receive))
        except Refused as refusal:
            await _answer(send, refusal.status, refusal.body)
            return
        if isinstance(answer, dict):
            await _answer(send, 200, answer)
        elif isinstance(answer, Sent):
            await self._stream(answer.content_type, answer.pieces, receive, send)
        elif answer.stream:
            chunks = map(_json, answer.chunks(int(time.time())))
            await self._stream(EVENT_STREAM, map(_event, (*chunks, b"[DONE]")), receive, send)
        else:
            await _answer(send, 200, answer.whole(int(time.time())))

    async def _stream(
        self, content_type: bytes, pieces: Iterable[bytes], receive: Receive, send: Send
    ) -> None:
        await send(_start(200, content_type))
        left = asyncio.ensure_future(receive())  # the body is read: what comes next is the client leaving
        try:
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.wait((left,), timeout=self._piece_delay_seconds)
                if left.done():
                    return
            await send({"type": "http.response.body", "body": b""})
        finally:
            left.cancel()


def _posted(path: str) -> Callable[[bytes], Answer] | None:
    """Who answers what is posted there; None for the list of models, which is got."""
    path = path.rstrip("/")
    if path.endswith("/models"):
        return None
    for end, answer in POSTED.items():  # the longer end stands first
        if path.endswith(end):
            return answer
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
