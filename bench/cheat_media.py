"""Images, speech and transcriptions for `make cheat`: what customers ask for, and upstreams that give all of it.

Prices are of an image, a character and a second; the book counts what each upstream was made to do.
"""

import asyncio
import base64
import json
from typing import Any

from aiohttp import web

IMAGE_TOMAN, SECOND_TOMAN = 100, 20
CHARACTER_TOMAN = 2_000  # per million
MICRO_PER_TOMAN = 10_000_000
# By protocol: further arguments of `add_model`.
OFFERS: dict[str, dict[str, Any]] = {
    "images": {"price": [f"image={IMAGE_TOMAN}"]},
    "speech": {"price": [f"character={CHARACTER_TOMAN}"]},
    "transcriptions": {"price": [f"audio_second={SECOND_TOMAN}"]},
}
PATHS = {
    "images": "/images/generations",
    "speech": "/audio/speech",
    "transcriptions": "/audio/transcriptions",
}
# What servers in the field obey beside OpenAI's names.
NUMBERS = ("n", "num_images", "numImages", "batch_size", "samples", "N", "n[]")
TEXTS = ("input", "instructions", "text", "ssml", "prompt", "Instructions")
TRUE_SECONDS = "x_seconds"  # a field that passes: how long its sound really is
PIECES = 10
PIECE_SECONDS = 0.02


def made_micro(protocol: str, fields: dict[str, Any]) -> float:
    """What an upstream that does all it is asked for has to be paid, at the customer's prices."""
    if protocol == "images":
        each = IMAGE_TOMAN * MICRO_PER_TOMAN * (4 if int(fields.get("width") or 0) > 1_024 else 1)
        return each * max(int(fields.get(name) or 1) for name in NUMBERS)
    if protocol == "speech":
        return sum(len(str(fields.get(name) or "")) for name in TEXTS) * CHARACTER_TOMAN * 10
    return int(fields[TRUE_SECONDS]) * SECOND_TOMAN * MICRO_PER_TOMAN


async def fields_of(request: web.Request) -> dict[str, Any]:
    if request.content_type != "multipart/form-data":
        body: dict[str, Any] = await request.json()
        return body
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


async def answer(protocol: str, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
    data = base64.b64encode(b"made").decode()
    if protocol == "speech":
        return await _stream(request, "audio/mpeg", [b"ID3" + b"\0" * 400] * PIECES)
    if str(fields.get("stream")).lower() == "true":
        kind = "image_generation.partial_image" if protocol == "images" else "transcript.text.delta"
        last = "image_generation.completed" if protocol == "images" else "transcript.text.done"
        told = [{"type": kind, "delta": "word ", "b64_json": data}] * PIECES
        events = [*told, {"type": last, "text": "word " * PIECES, "b64_json": data}]
        written = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in events]
        return await _stream(request, "text/event-stream", written)
    number = max(int(fields.get(name) or 1) for name in NUMBERS) if protocol == "images" else 1
    return web.json_response({"text": "word", "created": 1, "data": [{"b64_json": data}] * number})


async def _stream(request: web.Request, content_type: str, pieces: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": content_type})
    try:
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(PIECE_SECONDS)
    except ConnectionError:
        pass  # the reader left; all of it is in the book
    return response
