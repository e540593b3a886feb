"""Images, speech and transcriptions of the sandbox upstream, with the official client."""

import base64
import io
import wave
from collections.abc import AsyncIterator
from typing import Any

import av
import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from proxy.sandbox import media
from proxy.sandbox.request import Refused
from proxy.sandbox.upstream import SandboxUpstream
from tests.proxy.api.media import sounds

URL = "http://sandbox.test/sandbox/upstream/v1"
PAINTER, SPEAKER, WRITER = "hamiran-image", "hamiran-speech", "hamiran-transcription"
SOUND = ("voice.wav", sounds.wav(0.5))


@pytest.fixture
async def client() -> AsyncIterator[AsyncOpenAI]:
    transport = httpx.ASGITransport(app=SandboxUpstream(piece_delay_seconds=0))
    async with httpx.AsyncClient(transport=transport) as http:
        # The SDK is typed for another release of its HTTP client; the one here speaks the same.
        yield AsyncOpenAI(api_key="sandbox", base_url=URL, http_client=http, max_retries=0)  # type: ignore[arg-type]


def size_of(picture: str) -> tuple[int, int]:
    """As a real decoder reads it."""
    with av.open(io.BytesIO(base64.b64decode(picture)), "r", format="png_pipe") as container:
        frame: Any = next(container.decode(video=0))
    return frame.width, frame.height


async def test_an_image_is_a_picture_of_the_size_that_was_asked_for(client: AsyncOpenAI) -> None:
    answer = await client.images.generate(model=PAINTER, prompt="درخت گردو", size="1024x1536", n=2)
    assert (answer.size, answer.quality, answer.output_format) == ("1024x1536", "auto", "png")
    pictures = [image.b64_json or "" for image in answer.data or []]
    assert [size_of(picture) for picture in pictures] == [(1024, 1536)] * 2
    assert pictures[0] != pictures[1]
    again = await client.images.generate(model=PAINTER, prompt="درخت گردو", size="1024x1536")
    assert (again.data or [])[0].b64_json == pictures[0]


async def test_an_image_comes_with_drafts_where_they_are_asked_for(client: AsyncOpenAI) -> None:
    stream = await client.images.generate(model=PAINTER, prompt="a tree", stream=True, partial_images=2)
    events = [each async for each in stream]
    assert [each.type.rpartition(".")[2] for each in events] == ["partial_image"] * 2 + ["completed"]
    assert [size_of(each.b64_json) for each in events] == [(256, 256), (256, 256), (512, 512)]


async def test_an_image_may_be_edited(client: AsyncOpenAI) -> None:
    picture = base64.b64decode((await client.images.generate(model=PAINTER, prompt="x")).data[0].b64_json)  # type: ignore[arg-type,index]
    answer = await client.images.edit(model=PAINTER, prompt="a hat", image=[picture, picture], n=2)
    assert [size_of(image.b64_json or "") for image in answer.data or []] == [(512, 512)] * 2
    stream = await client.images.edit(model=PAINTER, prompt="a hat", image=picture, stream=True)
    assert [each.type async for each in stream] == ["image_edit.completed"]


async def test_a_speech_is_a_sound_that_plays(client: AsyncOpenAI) -> None:
    answer = await client.audio.speech.create(model=SPEAKER, voice="alloy", input="Hello!")
    assert answer.response.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as sound:
        length = sound.getnframes() / sound.getframerate()
        samples = sound.readframes(sound.getnframes())
    assert length == pytest.approx(6 * media.TONE_SECONDS)
    assert any(samples)
    slowly = await client.audio.speech.create(
        model=SPEAKER, voice="alloy", input="Hello!", speed=0.5, response_format="pcm"
    )
    assert len(slowly.content) == 2 * len(samples)


async def test_a_speech_may_come_in_events(client: AsyncOpenAI) -> None:
    async with client.audio.speech.with_streaming_response.create(
        model=SPEAKER, voice="alloy", input="Hello!", stream_format="sse"
    ) as answer:
        written = await answer.text()
    assert '"speech.audio.delta"' in written
    assert written.rstrip().endswith("}")
    assert '"type": "speech.audio.done"' in written.split("\n\n")[-2]


@pytest.mark.parametrize(("language", "text"), [("en", media.HEARD), ("fa", media.HEARD_FA)])
async def test_a_transcription_says_that_nobody_listened(
    client: AsyncOpenAI, language: str, text: str
) -> None:
    asked: Any = {"model": WRITER, "file": SOUND, "language": language}
    assert (await client.audio.transcriptions.create(**asked)).text == text
    stream = await client.audio.transcriptions.create(**asked, stream=True)
    *deltas, done = [each async for each in stream]
    assert "".join(each.delta for each in deltas) == done.text == text
    for form in ("text", "srt", "vtt", "verbose_json"):
        answer = await client.audio.transcriptions.create(**asked, response_format=form)
        assert text in (answer if isinstance(answer, str) else answer.text)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "size": "9x9"}, "size"),
        ({"prompt": "x", "n": 11}, "n"),
        ({"prompt": "x", "n": "two"}, "n"),
        ({"prompt": "x", "output_format": "webp"}, "output_format"),
    ],
)
async def test_what_it_cannot_draw_is_told_by_its_field(
    client: AsyncOpenAI, asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await client.images.generate(model=PAINTER, **asked)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "x", "speed": 9}, "speed"),
        ({"input": "x", "response_format": "flac"}, "response_format"),
        ({"input": "x", "voice": None}, "voice"),
    ],
)
async def test_what_it_cannot_speak_is_told_by_its_field(
    client: AsyncOpenAI, asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await client.audio.speech.create(**{"model": SPEAKER, "voice": "alloy"} | asked)
    assert refused.value.param == param


async def test_a_form_lacks_nothing(client: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError):
        await client.audio.transcriptions.create(model=SPEAKER, file=SOUND)
    for raw in (b"", b"no form", b"--b\r\n\r\n--b--", b'--b\r\nname="model"\r\n\r\nhamiran-image\r\n--b--'):
        with pytest.raises(Refused):
            media.write_down(raw)
        with pytest.raises(Refused):
            media.edit(raw)
