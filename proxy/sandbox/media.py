"""What the sandbox upstream draws, speaks and writes down: small, valid, and plainly made by no model. Pure.

An image is a gradient in colours of the prompt's own, a speech a tone per character, and a transcription a sentence
that says so.
"""

import base64
import hashlib
import io
import json
import math
import re
import struct
import wave
import zlib
from array import array
from dataclasses import dataclass
from functools import cache
from typing import Any

from proxy.sandbox.protocol import PERSIAN, count_tokens
from proxy.sandbox.request import Refused, check_model, read

SIZES = ("256x256", "512x512", "1024x1024", "1536x1024", "1024x1536")
IMAGES_MAX = 10
DRAFTS_MAX = 3
QUALITIES = ("auto", "low", "medium", "high", "standard", "hd")
RATE = 24_000
TONE_SECONDS, TONE_HZ = 0.06, 220.0
SPOKEN_MAX = 200  # characters; a longer text is not read to its end
LOUDNESS = 6_000
PIECE_BYTES = 4_096
TOKENS_PER_SECOND = 20
HEARD = "This is the sandbox upstream, not a model of speech: it has not listened to your file."
HEARD_FA = "این سرویس آزمایشی است، نه یک مدل گفتار؛ به فایل شما گوش نداده است."
NAME = re.compile(rb'name="([^"]*)"')
EVENT_STREAM = b"text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sent:
    """A body that is sent in pieces."""

    content_type: bytes
    pieces: list[bytes]


def event(said: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(said, ensure_ascii=False).encode(errors="replace") + b"\n\n"


# --- images --------------------------------------------------------------------------------------------------------


def draw(raw: bytes) -> Sent | dict[str, Any]:
    """Raises Refused."""
    return _images(read(raw, endpoint="images"), "image_generation")


def edit(raw: bytes) -> Sent | dict[str, Any]:
    """The same: what comes with the prompt is not looked at. Raises Refused."""
    form = _form(raw)
    if not any(name.removesuffix("[]") == "image" for name in form):
        raise Refused(400, "Missing required parameter: 'image'.", param="image")
    fields: dict[str, Any] = {name: value.decode(errors="replace") for name, value in form.items()}
    for name in ("n", "partial_images"):
        if name in fields:
            fields[name] = int(fields[name]) if fields[name].isdecimal() else fields[name]
    fields["stream"] = fields.get("stream") == "true"
    check_model(fields, endpoint="images")
    return _images(fields, "image_edit")


def _images(asked: dict[str, Any], kind: str) -> Sent | dict[str, Any]:
    prompt = asked.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise Refused(400, "Missing required parameter: 'prompt'.", param="prompt")
    size = _one_of(asked, "size", ("auto", *SIZES), "auto")
    size = SIZES[1] if size == "auto" else size
    quality = _one_of(asked, "quality", QUALITIES, "auto")
    _one_of(asked, "output_format", ("png",), "png")
    images = _whole(asked, "n", 1, IMAGES_MAX, 1)
    drafts = _whole(asked, "partial_images", 0, DRAFTS_MAX, 0)
    shown = {"size": size, "quality": quality, "output_format": "png", "background": "opaque"}
    if asked.get("stream"):
        told = [
            {"type": f"{kind}.partial_image", "partial_image_index": draft, "b64_json": _png(prompt, SIZES[0], draft)}
            for draft in range(drafts)
        ]  # fmt: skip
        told.append({"type": f"{kind}.completed", "b64_json": _png(prompt, size)})
        return Sent(EVENT_STREAM, [event({**one, "created_at": 0, **shown}) for one in told])
    data = [{"b64_json": _png(prompt, size, number)} for number in range(images)]
    return {"created": 0, "data": data, **shown}


def _png(prompt: str, size: str, number: int = 0) -> str:
    """In base64: a diagonal gradient between two colours that the prompt and the number choose."""
    width, height = map(int, size.split("x"))
    drawn = hashlib.sha256(f"{number} {prompt}".encode(errors="replace")).digest()
    palette = bytes(
        (drawn[part] * (255 - step) + drawn[part + 3] * step) // 255
        for step in range(256)
        for part in range(3)
    )
    line = bytes(place * 255 // (width + height) for place in range(width + height))
    rows = b"".join(b"\0" + line[row : row + width] for row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # eight bits of a palette
    parts = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(_part(*part) for part in parts)).decode()


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# --- sound ---------------------------------------------------------------------------------------------------------


def speak(raw: bytes) -> Sent:
    """Raises Refused."""
    body = read(raw, endpoint="speech")
    text, speed = body.get("input"), body.get("speed", 1.0)
    if not isinstance(text, str) or not text:
        raise Refused(400, "Missing required parameter: 'input'.", param="input")
    if not isinstance(body.get("voice"), str | dict):
        raise Refused(400, "Missing required parameter: 'voice'.", param="voice")
    if type(speed) not in (int, float) or not 0.25 <= speed <= 4:
        raise Refused(400, "Invalid 'speed': expected a number from 0.25 to 4.", param="speed")
    # mp3 is what SDKs ask for by themselves; players go by what the sound begins with.
    form = _one_of(body, "response_format", ("wav", "pcm", "mp3"), "wav")
    in_events = _one_of(body, "stream_format", ("audio", "sse"), "audio") == "sse"
    samples = b"".join(
        _tone(ord(each) % 24, round(RATE * TONE_SECONDS / speed)) for each in text[:SPOKEN_MAX]
    )
    sound = samples if form == "pcm" else _wav(samples)
    pieces = [sound[at : at + PIECE_BYTES] for at in range(0, len(sound), PIECE_BYTES)]
    if not in_events:
        return Sent(b"audio/pcm" if form == "pcm" else b"audio/wav", pieces)
    deltas = [{"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()} for piece in pieces]
    heard = count_tokens(text)
    made = math.ceil(len(samples) / 2 / RATE * TOKENS_PER_SECOND)
    usage = {"input_tokens": heard, "output_tokens": made, "total_tokens": heard + made}
    return Sent(EVENT_STREAM, [*map(event, deltas), event({"type": "speech.audio.done", "usage": usage})])


@cache
def _tone(step: int, length: int) -> bytes:
    """So many samples of a note, in steps of half a tone, that begins and ends softly."""
    turn = 2 * math.pi * TONE_HZ * 2 ** (step / 12) / RATE
    samples = (
        round(LOUDNESS * math.sin(place * turn) * math.sin(math.pi * place / length))
        for place in range(length)
    )
    return array("h", samples).tobytes()


def _wav(samples: bytes) -> bytes:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(RATE)
            sound.writeframes(samples)
        return file.getvalue()


def write_down(raw: bytes) -> Sent | dict[str, Any]:
    """Raises Refused."""
    form = _form(raw)
    fields: dict[str, Any] = {
        name: value.decode(errors="replace") for name, value in form.items() if name != "file"
    }
    check_model(fields, endpoint="transcriptions")
    if not form.get("file"):
        raise Refused(400, "Missing required parameter: 'file'.", param="file")
    wanted = _one_of(fields, "response_format", ("json", "text", "srt", "vtt", "verbose_json"), "json")
    is_persian = fields.get("language") == "fa" or PERSIAN.search(fields.get("prompt", ""))
    text = HEARD_FA if is_persian else HEARD
    if fields.get("stream") == "true":
        deltas = [{"type": "transcript.text.delta", "delta": word} for word in re.findall(r"\s*\S+", text)]
        return Sent(
            EVENT_STREAM, [*map(event, deltas), event({"type": "transcript.text.done", "text": text})]
        )
    if wanted == "verbose_json":
        segment = {"id": 0, "start": 0.0, "end": 1.0, "text": text}
        language = "persian" if is_persian else "english"
        return {
            "task": "transcribe",
            "language": language,
            "duration": 1.0,
            "text": text,
            "segments": [segment],
        }
    if wanted == "json":
        return {"text": text}
    written = {
        "text": f"{text}\n",
        "srt": f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n",
        "vtt": f"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n",
    }
    return Sent(b"text/plain; charset=utf-8", [written[wanted].encode()])


# --- what is asked -------------------------------------------------------------------------------------------------


def _form(raw: bytes) -> dict[str, bytes]:
    """The parts of a form by name, the last of each. Its first line is what stands between them."""
    boundary, _end, rest = raw.partition(b"\r\n")
    parts = {}
    for part in rest.split(b"\r\n" + boundary) if boundary.startswith(b"--") else ():
        head, _gap, value = part.partition(b"\r\n\r\n")
        if (name := NAME.search(head)) is not None:
            parts[name[1].decode(errors="replace")] = value
    return parts


def _one_of(asked: dict[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = default if asked.get(name) is None else asked[name]
    if value not in allowed:
        raise Refused(400, f"Invalid '{name}': the sandbox knows {', '.join(allowed)}.", param=name)
    return str(value)


def _whole(asked: dict[str, Any], name: str, least: int, most: int, default: int) -> int:
    value = default if asked.get(name) is None else asked[name]
    if type(value) is not int or not least <= value <= most:
        raise Refused(400, f"Invalid '{name}': expected a whole number from {least} to {most}.", param=name)
    return value
