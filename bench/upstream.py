"""An upstream that costs as little as possible: `python -m bench.upstream PORT`. It speaks chat, Messages, Responses.

The model's name says how it streams: `paced-50-20` sends 50 words, the first at once and then one every 20 ms, each as
an event of its own; a tick later come the finish, the usage and `[DONE]`. A request without `stream` gets one JSON
body. Every word holds WORD, which stands nowhere else in an answer, so that readers can count.
"""

import asyncio
import functools
import sys
from collections.abc import Sequence
from typing import cast

import httptools
import orjson
import uvloop

BACKLOG = 4096
WORD = b"word"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HEAD = {"id": "chatcmpl-abc123", "created": 1_700_000_000, "model": "paced"}


def model_name(*, words: int, every_ms: int) -> str:
    return f"paced-{words}-{every_ms}"


@functools.cache
def _answer() -> bytes:
    message = {"role": "assistant", "content": "Hello!"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = orjson.dumps(HEAD | {"object": "chat.completion", "choices": [choice], "usage": _usage(9)})
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@functools.cache
def _pieces(words: int) -> Sequence[bytes]:
    """What goes onto the wire, one piece at each tick."""
    deltas = [{"content": f"{WORD.decode()}{n} "} for n in range(words)]
    deltas[0]["role"] = "assistant"
    pieces = [_event([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    pieces[0] = STREAM_HEAD + pieces[0]
    finish = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    usage = _event([], usage=_usage(words))
    return [*pieces, finish + usage + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"]


@functools.cache
def _messages(words: int) -> Sequence[bytes]:
    usage = {"input_tokens": 12, "output_tokens": words}
    message: dict[str, object] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "paced", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": usage | {"output_tokens": 1},
    }  # fmt: skip
    deltas = [
        _named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        for text in _texts(words)
    ]
    first = _named("message_start", message=message)
    first += _named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    last = _named("content_block_stop", index=0) + _named("message_delta", delta=end, usage=usage)
    return _streamed(first, deltas, last + _named("message_stop"))


@functools.cache
def _responses(words: int) -> Sequence[bytes]:
    here = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    text = "".join(_texts(words))
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": 12, "output_tokens": words, "total_tokens": words + 12}
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "paced"}
    begun = response | {"status": "in_progress", "output": []}
    done = response | {"status": "completed", "output": [], "usage": usage}  # its words would count twice
    deltas = [_named("response.output_text.delta", **here, delta=each) for each in _texts(words)]
    first = _named("response.created", response=begun)
    first += _named(
        "response.output_item.added", output_index=0, item=item | {"status": "in_progress", "content": []}
    )
    first += _named("response.content_part.added", **here, part=part | {"text": ""})
    return _streamed(first, deltas, _named("response.completed", response=done))


def _texts(words: int) -> list[str]:
    return [f"{WORD.decode()}{n} " for n in range(words)]


def _named(kind: str, **data: object) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **data}) + b"\n\n"


def _streamed(first: bytes, deltas: Sequence[bytes], last: bytes) -> Sequence[bytes]:
    begun, *more = deltas
    return [
        STREAM_HEAD + _chunk(first + begun),
        *map(_chunk, more),
        _chunk(last) + b"0\r\n\r\n",
    ]


def _usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": 12, "completion_tokens": words, "total_tokens": words + 12}


def _event(choices: list[object], **more: object) -> bytes:
    data = orjson.dumps(HEAD | {"object": "chat.completion.chunk", "choices": choices} | more)
    return _chunk(b"data: " + data + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


MADE = {b"completions": _pieces, b"messages": _messages, b"responses": _responses}


class Connection(asyncio.Protocol):
    """One client's connection; answers its requests one after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._body = bytearray()
        self._url = b""
        self._tick: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclasses

    def connection_lost(self, exc: Exception | None) -> None:
        if self._tick is not None:
            self._tick.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        wanted = orjson.loads(self._body)
        self._body.clear()
        if not wanted.get("stream"):
            self._transport.write(_answer())
            return
        _, words, every_ms = wanted["model"].split("-")
        made = MADE[self._url.rpartition(b"/")[2]]
        self._send(made(int(words)), 0, self._loop.time(), int(every_ms) / 1000)

    def _send(self, pieces: Sequence[bytes], number: int, at: float, every_seconds: float) -> None:
        self._transport.write(pieces[number])
        if number + 1 < len(pieces):
            at += every_seconds
            self._tick = self._loop.call_at(at, self._send, pieces, number + 1, at, every_seconds)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
