"""POST /v1/audio/transcriptions and /translations: forms with a file, paid by its seconds or by reported tokens."""

import contextlib
import io
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from proxy.api.audio.length import AT_ONCE
from proxy.http.forms import parse_form
from proxy.idempotency import keeping
from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, Script, respond
from tests.live import at_once, eventually
from tests.proxy.api.conftest import CREDIT, Caller
from tests.proxy.api.media import sounds
from tests.proxy.api.media.conftest import (
    BY_CHARACTER,
    BY_SECOND,
    FAILING_OVER,
    INPUT,
    INPUT_AUDIO,
    OUTPUT,
    SECOND,
    SOUND_BY_TOKEN,
    assert_cost_can_be_computed_anew,
    cutting,
    raw,
)
from wallet.money import MICRO_PER_RIAL

SOUND = sounds.wav(2.5)
COST = 3 * SECOND * MICRO_PER_RIAL
TEXT = "سلام دنیا"
SRT = "1\n00:00:00,000 --> 00:00:02,500\nسلام دنیا\n"
USAGE = {
    "type": "tokens",
    "input_tokens": 30,
    "output_tokens": 6,
    "total_tokens": 36,
    "input_token_details": {"text_tokens": 5, "audio_tokens": 25},
}


def written(text: str = TEXT, **more: Any) -> Script:
    return respond(200, {"text": text, **more})


def repeat_of(caller: Caller, *, sound: bytes = SOUND, **fields: Any) -> httpx.Response:
    """A form with an Idempotency-Key; its boundary is another each time."""
    with caller.http as http:
        return http.post(
            "/audio/transcriptions",
            data={"model": BY_SECOND, **fields},
            files={"file": ("voice.wav", sound, "audio/wav")},
            headers={"Idempotency-Key": "once"},
        )


def ask(
    caller: Caller, *, sound: bytes = SOUND, path: str = "transcriptions", **fields: Any
) -> httpx.Response:
    files = {"file": ("voice.wav", sound, "audio/wav")}
    with caller.http as http:
        return http.post(f"/audio/{path}", data={"model": BY_SECOND, **fields}, files=files)


def test_a_file_is_passed_on_as_it_is_and_paid_by_the_second(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written(logprobs=[{"token": "س"}], model="up-model", x_cost=1)
    answer = caller.sdk.audio.transcriptions.create(
        model=BY_SECOND, file=("صدا.wav", SOUND, "audio/wav"), language="fa", temperature=0.2, prompt="Names: علی",
        include=["logprobs"],
    )  # fmt: skip
    assert answer.text == TEXT
    told: dict[str, Any] = answer.to_dict()
    assert (told["logprobs"], told["model"]) == ([{"token": "س"}], BY_SECOND)
    assert "x_cost" not in told
    assert (told["usage"]["type"], told["usage"]["seconds"]) == ("duration", 3)
    assert told["usage"]["cost_toman"] == COST / 10**7
    assert told["usage"]["cost_details"]["audio_second"] == {"quantity": 3, "toman": COST / 10**7}
    [sent] = upstream.requests
    assert sent.pop("file")[1:] == ("audio/wav", SOUND)
    assert sent == {
        "model": "up-model", "language": "fa", "temperature": "0.2", "prompt": "Names: علی", "include[]": "logprobs",
    }  # fmt: skip
    record = caller.usage()
    assert (record.endpoint, record.billed_by, record.quantities) == (
        "transcriptions", "counted", {"audio_second": 3},
    )  # fmt: skip
    assert record.cost_micro == COST
    assert caller.balance() == (CREDIT - COST, 0)
    assert_cost_can_be_computed_anew(caller)


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_text_and_subtitles_pass_as_they_are(
    caller: Caller, upstream: FakeUpstream, response_format: str
) -> None:
    upstream.script = respond(200, SRT.encode(), content_type="text/plain; charset=utf-8")
    answer = ask(caller, response_format=response_format)
    assert answer.text == SRT
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-hamiran-cost-toman"] == "9"
    assert upstream.requests[0]["response_format"] == response_format
    assert caller.usage().cost_micro == COST


def test_a_silence_may_have_no_text(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, b"", content_type="text/plain")
    assert ask(caller, response_format="text").content == b""
    upstream.script = written("")
    assert ask(caller).json()["text"] == ""
    assert caller.balance() == (CREDIT - 2 * COST, 0)


def test_a_verbose_answer_keeps_all_it_says(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written(
        language="persian",
        duration=2.5,
        segments=[{"id": 0, "text": TEXT}],
        usage={"type": "duration", "seconds": 3},
    )
    answer = caller.sdk.audio.transcriptions.create(
        model=BY_SECOND,
        file=("a.wav", SOUND),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.duration, answer.language, (answer.segments or [])[0].text) == (2.5, "persian", TEXT)
    assert upstream.requests[0]["timestamp_granularities[]"] == ["word", "segment"]


def test_a_translation_is_asked_for_as_one(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written("Hello world")
    assert ask(caller, path="translations").json()["text"] == "Hello world"
    assert upstream.paths == ["/v1/audio/translations"]
    assert caller.usage().cost_micro == COST


@pytest.mark.parametrize("name", sounds.FORMATS)
def test_the_seconds_of_every_format_are_measured(caller: Caller, upstream: FakeUpstream, name: str) -> None:
    upstream.script = written()
    assert ask(caller, sound=sounds.encoded(name, 4.3)).status_code == 200
    assert caller.usage().quantities == {"audio_second": 5}


def test_what_a_file_says_of_its_length_is_not_believed(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written()
    short = sounds.encoded("mp3", 1.0)
    assert (
        ask(caller, sound=short + sounds.encoded("mp3", 9.0)).status_code == 200
    )  # the first one's head says 1 s
    assert (caller.usage().quantities or {})["audio_second"] >= 10


@pytest.mark.parametrize("codec", ["aac", "flac", "alac", "libopus"])
def test_a_files_clock_is_not_believed(caller: Caller, upstream: FakeUpstream, codec: str) -> None:
    upstream.script = written()
    assert ask(caller, sound=sounds.with_fast_clock(codec, 9.5)).status_code == 200
    assert caller.usage().quantities == {"audio_second": 10}


@pytest.mark.parametrize(
    "sound",
    [
        b"",
        b"x",
        b"#EXTM3U\nhttp://127.0.0.1/\n",
        SOUND[:20],
        b"RIFF" + b"\0" * 60,
        b"\x1a\x45\xdf\xa3" * 9,
        b"ID3",
    ],
)
def test_what_cannot_be_measured_is_refused_and_costs_nothing(
    caller: Caller, upstream: FakeUpstream, sound: bytes
) -> None:
    error = ask(caller, sound=sound).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", "file")
    assert "webm" in error["message"]
    assert upstream.requests == []
    assert caller.balance() == (CREDIT, 0)


def test_reported_tokens_are_paid_where_the_list_prices_them(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written(usage=USAGE)
    answer = ask(caller, model=SOUND_BY_TOKEN).json()
    cost = 5 * INPUT + 25 * INPUT_AUDIO + 6 * OUTPUT
    assert {name: answer["usage"][name] for name in USAGE} == USAGE
    assert answer["usage"]["cost_toman"] == cost / 10**7
    record = caller.usage()
    assert (record.billed_by, record.cost_micro) == ("usage", cost)
    assert_cost_can_be_computed_anew(caller)


def test_tokens_that_nobody_reports_are_estimated_where_the_list_prices_nothing_else(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = written()
    ask(caller, model=SOUND_BY_TOKEN)
    record = caller.usage()
    assert (record.billed_by, record.completion_tokens) == ("estimate", 5)
    assert record.prompt_tokens >= 30


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (
            respond(400, {"error": {"message": "Too short.", "code": "audio_too_short"}}),
            400,
            "audio_too_short",
        ),
        (respond(200, {"error": {"message": "Too short.", "code": "bad", "status": 400}}), 400, "bad"),
        (respond(200, {"transcript": "x"}), 502, "upstream_error"),
        (respond(200, {"text": None}), 502, "upstream_error"),
        (respond(200, b"no JSON"), 502, "upstream_error"),
    ],
)
def test_what_is_no_transcription_costs_nothing(
    caller: Caller, upstream: FakeUpstream, script: Script, status: int, code: str
) -> None:
    upstream.script = script
    answer = ask(caller)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert caller.balance() == (CREDIT, 0)


def test_an_error_in_place_of_a_text_is_one(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, {"error": {"message": "Boom."}})
    assert ask(caller, response_format="text").status_code == 502
    upstream.script = respond(200, b"{laughs} Yes.", content_type="text/plain")
    assert ask(caller, response_format="text").text == "{laughs} Yes."


def test_a_sound_that_is_not_covered_is_not_sent_on(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    upstream.script = written()
    assert ask(make_caller(credit_micro=COST - 1)).json()["error"]["code"] == "insufficient_balance"
    assert upstream.requests == []
    assert ask(make_caller(credit_micro=COST)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": [BY_SECOND, SOUND_BY_TOKEN]}, "model"),
        ({"response_format": "tsv"}, "response_format"),
        ({"response_format": ["json", "text"]}, "response_format"),
        ({"stream": "perhaps"}, "stream"),
        ({"stream": "true", "path": "translations"}, "stream"),
        ({"stream": "true", "response_format": "srt"}, "response_format"),
        ({"url": "https://example.com/long.mp3"}, "url"),
        ({"audioUrl": "https://example.com/long.mp3"}, "audioUrl"),
        ({"file[0]": "https://example.com/long.mp3"}, "file[0]"),
        ({"model": BY_CHARACTER}, "model"),
    ],
)
def test_what_cannot_be_asked_is_told_by_its_field(
    caller: Caller, upstream: FakeUpstream, fields: dict[str, Any], param: str
) -> None:
    answer = ask(caller, **fields)
    assert (answer.status_code in {400, 404}, answer.json()["error"]["param"]) == (True, param)
    assert upstream.requests == []


def test_fields_that_choose_another_model_or_upstream_are_not_sent_on(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = written()
    misleading: dict[str, Any] = {"Model": "dearer", "provider[order]": "x", "api_key": "y"}
    ask(caller, temperature="1", **misleading)
    assert upstream.requests[0].keys() == {"model", "temperature", "file"}


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ([("other", ("a.wav", SOUND))], "file"),
        ([("file", ("a.wav", SOUND)), ("file", ("b.wav", SOUND))], "file"),
        ([("file", ("a.wav", SOUND)), ("more", ("b.wav", SOUND))], "file"),
    ],
)
def test_there_is_one_file_and_no_other(
    caller: Caller, upstream: FakeUpstream, files: list[Any], param: str
) -> None:
    with caller.http as http:
        answer = http.post("/audio/transcriptions", data={"model": BY_SECOND}, files=files)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", json.dumps({"model": BY_SECOND}).encode()),
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"nothing"),
        ("multipart/form-data; boundary=" + "x" * 300, b"nothing"),
        ("multipart/form-data; boundary*=nothing''x", b"nothing"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n'),
    ],
)
def test_what_is_no_form_is_refused(caller: Caller, content_type: str, body: bytes) -> None:
    with caller.http as http:
        answer = http.post("/audio/transcriptions", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@contextlib.contextmanager
def sending(caller: Caller, length: int) -> Iterator[socket.socket]:
    """A client that has announced a form of so many bytes and begun it."""
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.key}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n--x\r\n"
    )
    with socket.create_connection(("127.0.0.1", caller.web.port), timeout=10) as connection:
        connection.sendall(head.encode())
        yield connection


def test_a_file_beyond_25_megabytes_is_refused(caller: Caller, upstream: FakeUpstream) -> None:
    answer = ask(caller, sound=b"\0" * (25 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    with sending(caller, 40 * 1024 * 1024) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert upstream.requests == []


def test_a_file_of_24_megabytes_arrives_whole(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written()
    sound = sounds.wav(1.0)[:44] + bytes(range(256)) * 4 * 1024 * 24
    answer = ask(caller, sound=sound)
    assert answer.status_code == 200, answer.text
    assert upstream.requests[0]["file"][2] == sound
    assert caller.usage().outcome == "completed"


def test_an_upstream_that_answers_before_it_has_the_file_is_heard(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.reads_bodies = False
    upstream.script = respond(413, {"error": {"message": "Too large for me.", "code": "too_large"}})
    sound = sounds.wav(1.0)[:44] + bytes(20 * 1024 * 1024)
    answer = ask(caller, sound=sound)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert caller.balance() == (CREDIT, 0)
    upstream.reads_bodies = True
    upstream.script = written()
    assert ask(caller).status_code == 200


def test_a_file_goes_to_the_next_upstream_where_one_fails(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written()
    assert ask(caller, model=FAILING_OVER).status_code == 200
    assert upstream.requests[0]["file"][2] == SOUND
    assert caller.usage().cost_micro == COST


def test_a_request_beyond_its_limits_is_not_measured(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(rpm=1)
    assert ask(caller, sound=b"no sound").status_code == 400
    refused = ask(caller, sound=b"no sound")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_a_client_that_leaves_while_it_sends_leaves_nothing_behind(
    caller: Caller, upstream: FakeUpstream
) -> None:
    with sending(caller, 9_000_000) as connection:
        connection.sendall(bytes(1_000_000))
    upstream.script = written()
    eventually(lambda: ask(caller).status_code == 200)
    assert UsageRecord.objects.filter(key_id=caller.key_id).count() == 1


def test_a_file_may_have_any_name(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written()
    for name in ("a." + "b" * 300, "../../etc/x", "\x00", "سلام.wav"):
        files = {"file": (name, SOUND, "audio/wav")}
        with caller.http as http:
            answer = http.post("/audio/transcriptions", data={"model": BY_SECOND}, files=files)
        assert answer.status_code == 200, answer.text


def test_no_directory_ever_shows_a_file_that_is_kept() -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head + SOUND + b"\r\n--x--\r\n"
    form = parse_form(io.BytesIO(body), "multipart/form-data; boundary=x", len(body))
    [(name, file)] = form.files
    assert (name, file.name, file.size, file.read()) == ("file", "a.wav", len(SOUND), SOUND)
    assert os.fstat(file.fileno()).st_nlink == 0
    form.close()
    assert file.closed


def test_a_file_without_a_whole_second_costs_one(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written()
    assert ask(caller, sound=sounds.wav(0.0004)).status_code == 200
    assert caller.usage().quantities == {"audio_second": 1}


@pytest.mark.proof
def test_an_answer_may_break_at_every_byte(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    whole = raw(written("ok"))
    upstream.script = cutting(whole, field="language")
    callers = [make_caller() for _ in range(AT_ONCE)]  # each has one file measured at a time
    clients = iter([caller.http for caller in callers])

    def status(http: httpx.Client, cut: int) -> int:
        files = {"file": ("voice.wav", io.BytesIO(SOUND), "audio/wav")}
        data = {"model": BY_SECOND, "language": str(cut)}
        return http.post("/audio/transcriptions", data=data, files=files).status_code

    statuses = at_once(status, range(1, len(whole) + 1), threads=len(callers), http=lambda: next(clients))
    assert statuses == [502] * (len(whole) - 1) + [200]
    assert sum(CREDIT - caller.balance()[0] for caller in callers) == COST


def test_the_sdk_is_told_what_was_wrong(caller: Caller) -> None:
    with pytest.raises(openai.BadRequestError, match="flac"):
        caller.sdk.audio.transcriptions.create(model=BY_SECOND, file=("a.txt", b"no sound"))


def test_a_form_is_repeated_by_what_it_says(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = written()
    keeping.keep(user_id=caller.wallet.pk, hours=1)
    first, repeat = repeat_of(caller), repeat_of(caller)
    assert first.status_code == 200, first.text
    assert (repeat.status_code, repeat.content) == (200, first.content)
    assert repeat.request.headers["content-type"] != first.request.headers["content-type"]
    assert repeat.headers["content-type"] == first.headers["content-type"]
    assert repeat.headers["idempotent-replayed"] == "true"
    for other in (repeat_of(caller, sound=sounds.wav(2.4)), repeat_of(caller, language="fa")):
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert caller.balance() == (CREDIT - COST, 0)
