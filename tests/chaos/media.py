"""Images, speech and transcriptions as the chaos asks for them: billed by the piece, and all held for at once."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import aiohttp

from proxy.catalogue.prices.price_quote import PriceQuote
from tests.dialects import Dialect, Heard, event
from tests.proxy.api.media import sounds
from wallet.money import MICRO_PER_RIAL

FILE_SECONDS = 3
# Rial, each.
IMAGE, SECOND = 5_000, 2_000
CHARACTER = 10_000_000  # Rial per million
PRICES = {
    "images": PriceQuote(0, 0, further={"image": IMAGE}),
    "speech": PriceQuote(0, 0, further={"character": CHARACTER}),
    "transcriptions": PriceQuote(0, 0, further={"audio_second": SECOND}),
}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decoded(text: str | None) -> str:
    return base64.b64decode(text or "").decode()


class Media(Dialect):
    """`delta`, `done`: the types of its events; `field`: where they say something."""

    delta: str
    done: str
    field: str

    def cost_micro(self, text: str) -> int:
        """What an answer to such a text costs, whatever it says."""
        raise NotImplementedError

    def stream(self, texts: Sequence[str], *, prompt: int = 0, completion: int = 0) -> list[bytes]:
        deltas = [event({"type": self.delta, self.field: encoded(text)}) for text in texts]
        return [*deltas, event({"type": self.done, **self._last("".join(texts))})]

    def _last(self, text: str) -> dict[str, Any]:
        return {}

    def hear(self, events: list[dict[str, Any]], *, done: bool) -> Heard:
        text = "".join(decoded(each[self.field]) for each in events if each.get("type") == self.delta)
        error = next((each["error"]["code"] for each in events if "error" in each), None)
        return Heard(text, bool(events) and events[-1].get("type") == self.done, error)


class Images(Media):
    endpoint, path = "images", "/images/generations"
    delta, done, field = "image_generation.partial_image", "image_generation.completed", "b64_json"

    def asks(self, text: str) -> dict[str, Any]:
        return {"prompt": text}

    def cost_micro(self, text: str) -> int:
        return IMAGE * MICRO_PER_RIAL

    def whole(self, text: str, *, prompt: int = 0, completion: int = 0) -> dict[str, Any]:
        return {"created": 1, "data": [{"b64_json": encoded(text)}]}

    def text_of(self, answer: dict[str, Any]) -> str:
        return decoded(answer["data"][0]["b64_json"])

    def _last(self, text: str) -> dict[str, Any]:
        return {"b64_json": encoded(text)}


class Speech(Media):
    """A whole answer is sound as bytes, a stream events with sound in them."""

    endpoint, path = "speech", "/audio/speech"
    delta, done, field = "speech.audio.delta", "speech.audio.done", "audio"
    begins = b"ID3"

    def asks(self, text: str) -> dict[str, Any]:
        return {"input": text, "voice": "alloy"}

    def sent(self, body: dict[str, Any]) -> dict[str, Any]:
        in_events = {"stream_format": "sse"} if body.pop("stream") else {}
        return {"json": {**body, **in_events}}

    def wants_stream(self, written: bytes) -> bool:
        return bool(json.loads(written).get("stream_format"))

    def cost_micro(self, text: str) -> int:
        return CHARACTER * len(text)

    def whole(self, text: str, *, prompt: int = 0, completion: int = 0) -> dict[str, Any]:
        return {"sound": text}

    def written(self, answer: dict[str, Any]) -> tuple[bytes, str]:
        return self.begins + answer["sound"].encode(), "audio/mpeg"

    def read(self, answer: bytes) -> str:
        return answer.removeprefix(self.begins).decode()

    def text_of(self, answer: dict[str, Any]) -> str:
        raise NotImplementedError


class Transcriptions(Media):
    endpoint, path = "transcriptions", "/audio/transcriptions"
    delta, done, field = "transcript.text.delta", "transcript.text.done", "delta"

    def asks(self, text: str) -> dict[str, Any]:
        return {"prompt": text}

    def sent(self, body: dict[str, Any]) -> dict[str, Any]:
        form = aiohttp.FormData({**body, "stream": "true" if body["stream"] else "false"})
        form.add_field("file", sounds.wav(FILE_SECONDS), filename="a.wav", content_type="audio/wav")
        return {"data": form}

    def wants_stream(self, written: bytes) -> bool:
        return b'name="stream"\r\n\r\ntrue' in written

    def cost_micro(self, text: str) -> int:
        return FILE_SECONDS * SECOND * MICRO_PER_RIAL

    def whole(self, text: str, *, prompt: int = 0, completion: int = 0) -> dict[str, Any]:
        return {"text": encoded(text)}

    def text_of(self, answer: dict[str, Any]) -> str:
        return decoded(answer["text"])

    def _last(self, text: str) -> dict[str, Any]:
        return {"text": encoded(text)}


IMAGES, SPEECH, TRANSCRIPTIONS = Images(), Speech(), Transcriptions()
