"""POST /v1/audio/transcriptions and /v1/audio/translations: speech is written down, as JSON, text or subtitles."""

from dataclasses import dataclass
from typing import Any, ClassVar

from proxy.api.audio.length import measure
from proxy.api.chat_completions.answers import decode, edited
from proxy.api.fields import invalid
from proxy.api.form_view import FormView
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
TOKENS_PER_SECOND = (
    10  # of sound, where a list prices nothing but tokens and none are reported: gpt-4o-transcribe's
)
NO = frozenset({"", "false", "0", "no", "null", "none"})
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
        raise NotImplementedError


class TranslationRequest(TranscriptionRequest):
    __slots__ = ()
    protocol: ClassVar[UpstreamProtocol] = TRANSLATIONS


class Transcriptions(FormView):
    endpoint = "transcriptions"
    request_class: ClassVar[type[TranscriptionRequest]] = TranscriptionRequest

    async def read_files(self, form: Form, *, model: str, user_id: int) -> TranscriptionRequest:
        if (form.text("stream") or "").strip().lower() not in NO:
            raise invalid("stream", "false, since transcriptions come whole")
        if other := next((name for name, _value in form.fields if folded(base(name)) in ELSEWHERE), None):
            raise invalid(other, "left out: the sound itself comes as file, with a file name")
        wanted = form.text("response_format") or "json"
        if wanted not in JSON_FORMATS | TEXT_FORMATS:
            raise invalid("response_format", "json, text, srt, vtt, verbose_json or diarized_json")
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
            stream=False,
            units=Units(audio_seconds=seconds),
            prompt=PromptSize(sum(len(value.encode()) for _name, value in form.fields), media_parts=1),
            is_json=wanted in JSON_FORMATS,
        )


class Translations(Transcriptions):
    request_class = TranslationRequest


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
