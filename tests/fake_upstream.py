"""An upstream that misbehaves on request: a real HTTP server on loopback, run in a thread of the test process.

The test sets `script`, a coroutine that gets the parsed request and a writer of raw bytes, so that any byte
sequence an upstream could send can be sent, and the connection can be cut anywhere.
"""

import asyncio
import email
import email.policy
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from tests.live import free_port

Script = Callable[[dict[str, Any], asyncio.StreamWriter], Awaitable[None]]


class FakeUpstream:
    """`url` ends in /v1; `requests` are the bodies that arrived, forms as dictionaries, and `paths` where they went.

    `hung_up` is set when one left during an answer. Without `reads_bodies` it answers before it has read one.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.hung_up = threading.Event()
        self.script: Script = answer_whole()
        self.reads_bodies = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**26), self._loop
        ).result(5)

    def reset(self) -> None:
        """As new: nothing was asked, and whole answers are given."""
        self.requests.clear()
        self.headers.clear()
        self.paths.clear()
        self.hung_up = threading.Event()  # whoever leaves an answer of before is no news
        self.script = answer_whole()
        self.reads_bodies = True

    def close(self) -> None:
        async def finish() -> None:
            self._server.close()
            serving = asyncio.all_tasks() - {asyncio.current_task()}
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(finish(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung_up = self.hung_up
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _colon, value in (line.partition(":") for line in head[1:])
                }
                length = int(headers.get("content-length", 0))
                if not self.reads_bodies:
                    await self.script({}, writer)
                    await writer.drain()
                    await reader.readexactly(length)  # or its answer would be lost with the connection
                    continue
                hung_up = self.hung_up
                body = await reader.readexactly(length)
                is_form = headers.get("content-type", "").startswith("multipart/")
                request = form_of(body, headers) if is_form else json.loads(body)
                self.requests.append(request)
                self.headers.append(headers)
                self.paths.append(head[0].split(" ")[1])
                await self.script(request, writer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # a kept connection was closed between two requests
        except ConnectionError:
            hung_up.set()
        except asyncio.CancelledError:
            pass  # the server closes; asyncio's own callback would report it as a fault
        finally:
            writer.close()


def form_of(body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """A body of multipart/form-data: texts by name, and of files their name, type and bytes."""
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    found: dict[str, Any] = {}
    for part in email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts():
        name, filename = (part.get_param(one, header="content-disposition") for one in ("name", "filename"))
        content: Any = part.get_payload(decode=True)
        value = (filename, part.get_content_type(), content) if filename else content.decode()
        found[str(name)] = [found[str(name)], value] if name in found else value
    return found


USAGE = {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}


def respond(status: int, body: Any, *, content_type: str = "application/json", **headers: str) -> Script:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    async def script(_request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(data)}\r\n{more}\r\n"
        writer.write(head.encode() + data)

    return script


def answer_whole(text: str = "Hello!", usage: dict[str, Any] | None = USAGE) -> Script:
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "up",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
    }
    if usage is not None:
        body["usage"] = usage
    return respond(200, body)


def chunk(delta: dict[str, Any] | None = None, *, finish: str | None = None, **extra: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up",
        "choices": choices,
        **extra,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


STREAM = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo!"}),
    chunk({}, finish="stop"),
    chunk(None, usage=USAGE),
    b"data: [DONE]\n\n",
]


def text_chunk(*texts: str, finish: str | None = None, **extra: Any) -> bytes:
    """A chunk of a legacy completion: a text of each choice in turn; none of any where it is about usage."""
    choices = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
        for index, text in enumerate(texts)
    ]
    body = {"id": "c", "object": "text_completion", "created": 1, "model": "up", "choices": choices, **extra}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


TEXT_STREAM = [
    text_chunk("Hel"),
    text_chunk("lo!"),
    text_chunk("", finish="stop"),
    text_chunk(usage=USAGE),
    b"data: [DONE]\n\n",
]


def answer_texts(*texts: str, usage: dict[str, Any] | None = USAGE) -> Script:
    """A whole legacy completion: one choice per text."""
    choices = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    body = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1700000000,
        "model": "up",
        "choices": choices,
    }
    return respond(200, body if usage is None else {**body, "usage": usage})


def as_asked(*events: bytes, model: str) -> bytes:
    """What becomes of an upstream's events: the model is the one that was asked for."""
    return b"".join(events).replace(b'"model":"up"', b'"model":"%b"' % model.encode())


def stream_events(*parts: bytes | float | threading.Event, cut: bool = False) -> Script:
    """Sends the parts one by one as chunks; a number is a pause in seconds, an event is waited for; `cut` closes
    without the last chunk."""

    async def script(_request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for part in parts:
            if isinstance(part, float | int):
                await asyncio.sleep(part)
                continue
            if isinstance(part, threading.Event):
                await asyncio.to_thread(part.wait, 10)
                continue
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        if cut:
            raise ConnectionResetError
        writer.write(b"0\r\n\r\n")

    return script
