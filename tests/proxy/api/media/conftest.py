"""Models of images and sound, in a web process of their own."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from proxy.catalogue.models import LanguageModel
from proxy.usage import integrity as usage_integrity
from tests.fake_upstream import FakeUpstream, Script
from tests.live import WebProcess, free_port, web_process
from tests.proxy.api.conftest import Caller, add_model, take_off_sale
from tests.proxy.factories import RouteFactory, UpstreamFactory
from wallet import integrity

CHARACTER = 700  # micro-Rial
BY_CHARACTER, SPEECH_BY_TOKEN, SPEECH_BY_BOTH, DRAINED_SPEECH = "tts", "tts-tokens", "tts-both", "tts-drained"
BY_SECOND, SOUND_BY_TOKEN, FAILING_OVER = "hear", "hear-tokens", "hear-twice"
SECOND = 30  # Rial
INPUT_AUDIO = 5_000
BY_IMAGE, BY_KIND, IMAGE_BY_TOKEN = "draw", "draw-kinds", "draw-tokens"
IMAGE = 400  # Rial
KINDS = [
    {"size": "1024x1024", "quality": "high", "rial": 900},
    {"size": "1024x1024", "rial": 500},
    {"size": "1536x1024", "quality": "low", "rial": 300},
]
INPUT, OUTPUT, OUTPUT_IMAGE, OUTPUT_AUDIO = 1_000, 3_000, 9_000, 8_000
BY_TOKENS: Any = (INPUT, OUTPUT, None)
FREE: Any = (0, 0, None)


@pytest.fixture(scope="session")
def media_web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, upstream: FakeUpstream
) -> Iterator[WebProcess]:
    speech: dict[str, Any] = {"endpoints": ["speech"], "protocols": ["speech"]}
    images: dict[str, Any] = {"endpoints": ["images"], "protocols": ["images"]}
    hearing: dict[str, Any] = {"endpoints": ["transcriptions"], "protocols": ["transcriptions"]}
    dead = f"http://127.0.0.1:{free_port()}/v1"
    character = {"components": {"character": CHARACTER}}
    audio_tokens = {"components": {"output_audio": OUTPUT_AUDIO}}
    both = {"components": {"output_audio": OUTPUT_AUDIO, "character": CHARACTER}}
    with django_db_blocker.unblock():
        add_model(BY_CHARACTER, upstream.url, prices=FREE, further=character, **speech)
        add_model(
            DRAINED_SPEECH, upstream.url, prices=FREE, further=character, on_disconnect="drain", **speech
        )
        add_model(SPEECH_BY_TOKEN, upstream.url, prices=BY_TOKENS, further=audio_tokens, **speech)
        add_model(SPEECH_BY_BOTH, upstream.url, prices=BY_TOKENS, further=both, **speech)
        add_model(
            BY_SECOND, upstream.url, prices=FREE, further={"components": {"audio_second": SECOND}}, **hearing
        )
        add_model(
            SOUND_BY_TOKEN, upstream.url, prices=BY_TOKENS, media_part_tokens=2_000,
            further={"components": {"input_audio": INPUT_AUDIO}}, **hearing,
        )  # fmt: skip
        add_model(
            FAILING_OVER, dead, prices=FREE, further={"components": {"audio_second": SECOND}}, **hearing
        )
        add_route(FAILING_OVER, upstream.url, protocols=["transcriptions"])
        add_model(BY_IMAGE, upstream.url, prices=FREE, further={"components": {"image": IMAGE}}, **images)
        add_model(BY_KIND, upstream.url, prices=FREE, further={"images": KINDS}, **images)
        add_model(
            IMAGE_BY_TOKEN, upstream.url, prices=BY_TOKENS, max_output_tokens=5_000,
            further={"components": {"output_image": OUTPUT_IMAGE}}, **images,
        )  # fmt: skip
    limits = {"UPSTREAM_IDLE_TIMEOUT_SECONDS": "2", "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "2"}
    with django_db_blocker.unblock(), web_process(env=limits) as process:
        yield process
        take_off_sale(
            BY_SECOND,
            SOUND_BY_TOKEN,
            FAILING_OVER,
            BY_CHARACTER,
            DRAINED_SPEECH,
            SPEECH_BY_TOKEN,
            SPEECH_BY_BOTH,
            BY_IMAGE,
            BY_KIND,
            IMAGE_BY_TOKEN,
        )


def add_route(model_id: str, url: str, *, protocols: list[str]) -> None:
    """One more for a model, behind the other."""
    RouteFactory.create(
        model=LanguageModel.objects.get(model_id=model_id),
        upstream=UpstreamFactory.create(base_url=url),
        upstream_model="up-model",
        protocols=protocols,
        priority=200,
    )


@pytest.fixture
def make_caller(make_caller: Callable[..., Caller], media_web: WebProcess) -> Callable[..., Caller]:
    return lambda **limits: replace(make_caller(**limits), web=media_web)


def assert_cost_can_be_computed_anew(caller: Caller) -> None:
    """As `check_ledger --all` does."""
    records = {str(record) for record in caller.wallet.holds.none()} | {str(caller.usage().pk)}
    found = [
        one for one in integrity.run([usage_integrity.EVERY_COST]) if any(pk in one.detail for pk in records)
    ]
    assert not found


def event(**said: Any) -> bytes:
    return b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"


def raw(script: Script) -> bytes:
    """All that it sends."""
    sent = bytearray()

    class Recorder:
        def write(self, data: bytes) -> None:
            sent.extend(data)

        async def drain(self) -> None:
            pass

    asyncio.run(script({}, Recorder()))  # type: ignore[arg-type]
    return bytes(sent)


def cutting(whole: bytes, *, field: str) -> Script:
    """As many bytes of an answer as a field of the request says, and a break."""

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        cut = int(request[field])
        writer.write(whole[:cut])
        await writer.drain()
        if cut < len(whole):
            raise ConnectionResetError

    return script
