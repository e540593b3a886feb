"""POST /v1/audio/speech: a text is read out. Sound as it comes, or events with sound in them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from proxy.api import fields as body_fields
from proxy.api.audio.sound import SoundStream
from proxy.api.media_events import MediaEvents
from proxy.api.metered_view import MeteredView
from proxy.api.pieces import JSONPiecesRequest
from proxy.catalogue.prices.pricing import Units
from proxy.catalogue.request_fields import CHATS, is_disguised
from proxy.catalogue.served import ServedRoute
from proxy.catalogue.tokens import PromptSize
from proxy.http.parsing import Payload
from proxy.metering.endpoint import MeteredRequest, StreamedAnswer, WholeAnswer
from proxy.metering.relay import Relay
from proxy.upstreams.protocols import SPEECH, UpstreamProtocol

DONE = "speech.audio.done"
# Of gpt-4o-mini-tts: some 15 characters and 21 tokens a second (openai.com/api/pricing: 12 dollars per million tokens,
# 0.015 dollars a minute).
TOKENS_PER_10_CHARACTERS = 14
# What other services read out in the place of `input`, or how often.
OTHER_TEXTS = frozenset(
    {"text", "texts", "ssml", "script", "transcript", "prompt", "inputs", "input_text", "n"}
)
# How it is to be read out, in words, by the names that services have for it: the voice reads these too, so they count.
INSTRUCTIONS = ("instructions", "instruction", "instruct", "instruct_text")
TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
SOUND_TYPE = re.compile(r"audio/[\w.+-]{1,64}(;[\w ;=.+-]{1,100})?")

_read_text = msgspec.json.Decoder(str).decode
_read_instructions = msgspec.json.Decoder(str | None).decode
_read_speed = msgspec.json.Decoder(float | None).decode


@dataclass(frozen=True, slots=True)
class SpeechRequest(JSONPiecesRequest):
    """Billed by the characters of its text and its instructions.

    `in_events`: the sound comes in events, the last of which has usage. `spoken`: how many characters are read out.
    """

    endpoint: ClassVar = "speech"
    protocol: ClassVar[UpstreamProtocol] = SPEECH
    prompt_field: ClassVar = "input"
    own_fields: ClassVar = frozenset({"speed"})  # the voice's
    not_ours: ClassVar = CHATS | OTHER_TEXTS

    in_events: bool
    spoken: int
    sound_type: str  # by the format that was asked for
    slowness: float  # how many times as long a sound it wants as the voice would make it

    def read_whole(self, body: bytes, route: ServedRoute) -> WholeAnswer:
        raise NotImplementedError

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        estimate = math.ceil(self.spoken * TOKENS_PER_10_CHARACTERS * self.slowness / 10)
        if self.in_events:
            return MediaEvents(
                last=DONE,
                model=self.model,
                made="output_audio_tokens",
                estimate=estimate,
                has_medium=lambda event: bool(event.get("audio")),
            )
        return SoundStream(estimate=estimate)


class Speech(MeteredView):
    endpoint = "speech"

    def required_model(self, payload: Payload) -> str:
        return body_fields.model_of(payload)

    def read_request(self, payload: Payload, *, model: str) -> SpeechRequest:
        return read_request(payload, model=model)

    def sends_events(self, request: MeteredRequest) -> bool:
        assert isinstance(request, SpeechRequest)
        return request.in_events

    def stream_headers(self, request: MeteredRequest, relay: Relay) -> Mapping[str, str]:
        assert isinstance(request, SpeechRequest)
        if request.in_events:
            return super().stream_headers(request, relay)
        said = relay.upstream_header(b"content-type")
        return {"content-type": said if SOUND_TYPE.fullmatch(said) else request.sound_type}


def read_request(payload: Payload, *, model: str) -> SpeechRequest:
    """Raises APIError invalid_value."""
    fields = {name: value for name, value in payload.fields.items() if not _is_misleading(name)}
    text = body_fields.read(fields, "input", _read_text, "a text")
    if not text:
        raise body_fields.invalid("input", "a text that is not empty")
    beside = (
        body_fields.read(fields, name, _read_instructions, "a text") or ""
        for name in INSTRUCTIONS
        if name in fields
    )
    wanted = body_fields.read(fields, "response_format", _read_text, "a text")
    stream_format = body_fields.read(fields, "stream_format", _read_text, "sse or audio")
    if stream_format not in {None, "sse", "audio"}:
        raise body_fields.invalid("stream_format", "sse or audio")
    speed = body_fields.read(fields, "speed", _read_speed, "a number")
    if speed is not None and not 0.1 <= speed <= 10:
        raise body_fields.invalid("speed", "a number from 0.1 to 10")
    return SpeechRequest(
        fields=fields,
        model=model,
        stream=True,
        units=Units(characters=len(text) + sum(map(len, beside))),
        prompt=PromptSize(text_bytes=payload.text_bytes, expansion_bytes=payload.expansion_bytes),
        in_events=stream_format == "sse",
        spoken=len(text),
        sound_type=TYPES.get(wanted or "mp3", "application/octet-stream"),
        slowness=max(1.0, 1 / (speed or 1)),
    )


def _is_misleading(name: str) -> bool:
    """Whether a field is one that is read, in other letters."""
    return is_disguised(name) or (name not in INSTRUCTIONS and name.casefold() in INSTRUCTIONS)
