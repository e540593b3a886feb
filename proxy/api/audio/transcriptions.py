"""POST /v1/audio/transcriptions and /v1/audio/translations: speech is written down, as JSON, text or subtitles.

Transcriptions may also come in events, as the text is found.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from proxy.api.audio.length import measure
from proxy.api.chat_completions.answers import decode, edited
from proxy.api.fields import invalid
from proxy.api.form_view import FormView, flag
from proxy.api.media_events import NO_EVENTS, MediaEvents
from proxy.api.pieces import FormPiecesRequest, PiecesSize, renamed, usage_with_cost
from proxy.catalogue.prices.pricing import PIECES_MAX, Units
from proxy.catalogue.request_fields import base, folded
from proxy.catalogue.served import ServedRoute
from proxy.catalogue.tokens import PromptSize, completion_estimate
from proxy.http.forms import Form
from proxy.http.responses import JSON
from proxy.metering import purchase
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer, StreamedAnswer
from proxy.metering.reported_usage import Report, report_of
from proxy.upstreams.errors import error_of
from proxy.upstreams.protocols import TRANSCRIPTIONS, TRANSLATIONS, UpstreamProtocol

TEXT = "text/plain; charset=utf-8"
JSON_FORMATS = frozenset({"json", "verbose_json", "diarized_json"})
TEXT_FORMATS = frozenset({"text", "srt", "vtt"})
EVENT_FORMATS = frozenset({"json", "diarized_json"})
DONE = "transcript.text.done"
# What the usage of the last event says where upstream reports none: there strict clients know tokens alone.
NO_TOKENS = {"type": "tokens", "input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
TOKENS_PER_SECOND = (
    10  # of sound, where a list prices nothing but tokens and none are reported: gpt-4o-transcribe's
)
# Other places that services take a sound from: nobody has measured what is there.
ELSEWHERE = frozenset(
    map(
        folded,
        ("file", "url", "uri", "file_url", "audio_url", "media_url", "source_url", "file_id", "file_path", "audio",
         "audio_file", "audio_data", "audio_base64", "input_audio", "source", "data"),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Transcription:
    """A whole answer. `answer`: None where it is a text, which passes as it is."""

    body: bytes
    answer: dict[str, Any] | None
    report: Report | None
    size: PiecesSize
    seconds: int
    model: str

    def for_customer(self, bill: Bill) -> bytes:
        if self.answer is None:
            return self.body
        said = self.answer.get("usage")
        usage = said if isinstance(said, dict) else {"type": "duration", "seconds": self.seconds}
        changes = {**purchase.changes(self.answer), "usage": usage_with_cost(usage, bill)}
        return edited(self.body, self.answer, changes | renamed(self.answer, self.model))


class TranscriptEvents(MediaEvents):
    """Texts are told in pieces and segments, and once more whole by the last event."""

    def __init__(self, *, model: str, seconds: int) -> None:
        self._heard: Counter[str] = Counter()  # bytes of text by the type of event
        super().__init__(
            last=DONE,
            model=model,
            made="",
            estimate=0,
            has_medium=self._hear,
            ends_with_it=True,
            unreported={**NO_TOKENS, "seconds": seconds},
        )

    @property
    def size(self) -> PiecesSize:
        return PiecesSize(completion_estimate(max(self._heard.values(), default=0), 0))

    def _hear(self, event: dict[str, Any]) -> bool:
        kind = str(event.get("type"))
        if "choices" in event:  # vLLM streams chunks of a chat
            raise BadAnswer("events of another kind", error=NO_EVENTS)
        text = event.get("text", event.get("delta"))
        if not isinstance(text, str):
            return False
        self._heard[kind] += len(text.encode("utf-8", "surrogatepass"))
        return bool(text) or kind == DONE


@dataclass(frozen=True, slots=True)
class TranscriptionRequest(FormPiecesRequest):
    """Billed by the seconds of its file, or by reported tokens."""

    endpoint: ClassVar = "transcriptions"
    protocol: ClassVar[UpstreamProtocol] = TRANSCRIPTIONS
    prompt_field: ClassVar = "file"

    is_json: bool

    @property
    def prompt_estimate(self) -> int:
        return self.prompt.estimate + self.units.audio_seconds * TOKENS_PER_SECOND

    def read_whole(self, body: bytes, route: ServedRoute) -> Transcription:
        answer = _json(body) if self.is_json else None
        if answer is None:
            _check_text(body)
        text = body if answer is None else answer["text"].encode("utf-8", "surrogatepass")
        return Transcription(
            body=body,
            answer=answer,
            report=None if answer is None else report_of(answer),
            size=PiecesSize(completion_estimate(len(text), 0)),
            seconds=self.units.audio_seconds,
            model=self.model,
        )

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        return TranscriptEvents(model=self.model, seconds=self.units.audio_seconds)


class TranslationRequest(TranscriptionRequest):
    __slots__ = ()
    protocol: ClassVar[UpstreamProtocol] = TRANSLATIONS


class Transcriptions(FormView):
    files_are = 'the sound as a file named "file"'
    endpoint = "transcriptions"
    request_class: ClassVar[type[TranscriptionRequest]] = TranscriptionRequest
    may_stream: ClassVar = True

    async def read_files(self, form: Form, *, model: str, user_id: int) -> TranscriptionRequest:
        if (stream := flag(form, "stream")) and not self.may_stream:
            raise invalid("stream", "false, since translations come whole")
        if other := next((name for name, _value in form.fields if folded(base(name)) in ELSEWHERE), None):
            raise invalid(other, "left out: the sound itself comes as file, with a file name")
        wanted = form.text("response_format") or "json"
        if wanted not in JSON_FORMATS | TEXT_FORMATS:
            raise invalid("response_format", "json, text, srt, vtt, verbose_json or diarized_json")
        if stream and wanted not in EVENT_FORMATS:
            raise invalid("response_format", "json or diarized_json in a stream")
        files = [file for name, file in form.files if name == "file"]
        if len(files) != 1 or len(form.files) != 1:
            raise invalid("file", "one file of sound, and the only file")
        seconds = await measure(files[0], param="file", user_id=user_id)
        if seconds > PIECES_MAX:
            raise invalid("file", f"at most {PIECES_MAX:,} seconds long")
        self.answer_type = JSON if wanted in JSON_FORMATS else TEXT
        return self.request_class(
            form=form,
            model=model,
            stream=stream,
            units=Units(audio_seconds=seconds),
            prompt=PromptSize(sum(len(value.encode()) for _name, value in form.fields), media_parts=1),
            is_json=wanted in JSON_FORMATS,
        )


class Translations(Transcriptions):
    request_class = TranslationRequest
    may_stream = False


def _json(body: bytes) -> dict[str, Any]:
    """Raises BadAnswer."""
    answer = decode(body)
    if (error := error_of(answer)) is not None:
        raise BadAnswer("an error in a 200 answer", error=error)
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        raise BadAnswer("no transcription")
    edited(body, answer, {"usage": {}})  # what cannot be written must fail before it is paid for
    return answer


def _check_text(body: bytes) -> None:
    """Raises BadAnswer for an error in place of a text."""
    if not body.lstrip().startswith((b"{", b"[")):
        return
    try:
        answer = decode(body)
    except BadAnswer:
        return
    if (error := error_of(answer)) is not None:
        raise BadAnswer("an error in a 200 answer", error=error)
