"""A test of an upstream: one small call that is billed to nobody, and what came of it.

It goes the way of any call (checked address, no redirects, redacted words), past limits, wallet, breakers and rests.
"""

import asyncio
import io
import json
import math
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.catalogue.served import ServedRoute
from proxy.catalogue.upstream_url import validate_upstream_url
from proxy.upstreams import protocols
from proxy.upstreams.calls import UpstreamFailed, UpstreamRefusal, Upstreams, read_all
from proxy.upstreams.protocols import UpstreamProtocol
from proxy.wire.form import FormBody, FormFile

PROBE_SECONDS = 30.0
ANSWER_TOKENS = 16
ANSWER_MAX_BYTES = 16 * 1024 * 1024  # of a picture
USAGE_MAX_CHARACTERS = 500
HELLO = "Say hello."


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status`: of the answer, or None where there was none. `error`: what went wrong, without secrets.

    `first_byte_ms`: until its head came; `usage`: what it says that it used, as JSON.
    """

    status: int | None
    total_ms: int
    first_byte_ms: int | None = None
    bytes_read: int = 0
    usage: str = ""
    error: str = ""

    @property
    def is_well(self) -> bool:
        return self.status == 200 and not self.error


def run(route: ServedRoute, protocol: str) -> Outcome:
    """Calls the upstream of a route in one of its protocols. Call it outside of transactions and of event loops.

    Raises UnsafeURL where the upstream's address may not be called.
    """
    validate_upstream_url(route.base_url)
    return asyncio.run(_run(route, protocol))


async def _run(route: ServedRoute, name: str) -> Outcome:
    protocol, make = REQUESTS[name]
    began = time.monotonic()

    def passed_ms() -> int:
        return math.ceil((time.monotonic() - began) * 1000)

    upstreams = Upstreams()
    upstreams.start()
    try:
        deadline = asyncio.get_running_loop().time() + PROBE_SECONDS
        call = await upstreams.send(route, protocol, make(route), stream=False, deadline=deadline)
        first_byte_ms = passed_ms()
        try:
            answer = await read_all(call, deadline=deadline, max_bytes=ANSWER_MAX_BYTES)
        finally:
            call.close()
    except UpstreamRefusal as error:
        return Outcome(error.status, passed_ms(), error=str(error.message))
    except UpstreamFailed as error:
        return Outcome(None, passed_ms(), error=str(error))
    finally:
        await upstreams.close()
    usage, wrong = ("", "") if name == "speech" else _usage(answer)
    return Outcome(200, passed_ms(), first_byte_ms, len(answer), usage, wrong)


def _usage(answer: bytes) -> tuple[str, str]:
    """What an answer says of its usage, and what is wrong with it."""
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        return "", "the answer is no JSON"
    if not isinstance(told, dict):
        return "", "the answer is no JSON object"
    usage = told.get("usage")
    text = json.dumps(usage, ensure_ascii=False) if isinstance(usage, dict) else ""
    return text[:USAGE_MAX_CHARACTERS], "an error within a 200" if told.get("error") else ""


def _json(**fields: Any) -> Callable[[ServedRoute], bytes]:
    return lambda route: json.dumps({"model": route.upstream_model, **fields}).encode()


def _chat(route: ServedRoute) -> bytes:
    caps = dict.fromkeys(route.quirks.limit_fields, ANSWER_TOKENS)
    return _json(messages=[{"role": "user", "content": HELLO}], **caps)(route)


def _recording(route: ServedRoute) -> FormBody:
    """Half a second of silence."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(bytes(8_000))
    length = sound.tell()
    part = FormFile("file", "silence.wav", "audio/wav", sound, length)
    return FormBody([("model", route.upstream_model)], [part])


# What is asked in each protocol (proxy.catalogue.endpoints.PROTOCOLS).
REQUESTS: dict[str, tuple[UpstreamProtocol, Callable[[ServedRoute], bytes | FormBody]]] = {
    "chat": (protocols.CHAT, _chat),
    "responses": (protocols.RESPONSES, _json(input=HELLO, max_output_tokens=ANSWER_TOKENS, store=False)),
    "messages": (
        protocols.MESSAGES,
        _json(messages=[{"role": "user", "content": HELLO}], max_tokens=ANSWER_TOKENS),
    ),
    "completions": (protocols.COMPLETIONS, _json(prompt=HELLO, max_tokens=ANSWER_TOKENS)),
    "embeddings": (protocols.EMBEDDINGS, _json(input=HELLO)),
    "images": (protocols.IMAGES, _json(prompt="A white square.", n=1)),
    "speech": (protocols.SPEECH, _json(input="Hello.", voice="alloy")),
    "transcriptions": (protocols.TRANSCRIPTIONS, _recording),
    "moderations": (protocols.MODERATIONS, _json(input=HELLO)),
}
