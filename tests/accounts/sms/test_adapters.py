"""What both adapters ask for, and what they make of the answers, over real HTTP."""

import contextlib
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from accounts.shared import provider_call
from accounts.shared.channel import KeyRefused, NeedsOperator, NoAnswer, SendError, Unreachable
from accounts.sms import sending
from accounts.sms.interface import LineRefused, NumberRefused, OutOfCredit, TemplateRefused
from tests.accounts.sms.servers import Provider, SMSIr
from tests.live import free_port

MOBILE, DIALLED, CODE = "+989121234567", "09121234567", "482913"
TEXT = f"Hamiran code: {CODE}\n\n@example.ir #{CODE}"


def send_code() -> None:
    sending.provider().send_code(mobile=MOBILE, code=CODE, text=TEXT)


def send_text(text: str = "موجودی کیف پول شما کم است") -> None:
    sending.provider().send_text(mobile=MOBILE, text=text)


def test_a_code_goes_out_through_the_template_to_the_number_as_it_is_dialled(provider: Provider) -> None:
    send_code()
    assert provider.sent == [(DIALLED, CODE)]


def test_a_text_goes_out_as_it_is(provider: Provider) -> None:
    send_text("کم & زیاد=+%\nhttps://example.ir/")
    assert provider.sent == [(DIALLED, "کم & زیاد=+%\nhttps://example.ir/")]


def test_kavenegar_is_asked_with_forms(kavenegar: Provider, settings: Any) -> None:
    send_code()
    send_text("low")
    settings.KAVENEGAR_SENDER = "10004346"
    send_text("low")
    assert kavenegar.calls == [
        ("verify/lookup.json", {"receptor": DIALLED, "template": "hamiran-login", "token": CODE}),
        ("sms/send.json", {"receptor": DIALLED, "message": "low"}),
        ("sms/send.json", {"receptor": DIALLED, "message": "low", "sender": "10004346"}),
    ]


def test_smsir_is_asked_with_json(smsir: Provider) -> None:
    send_code()
    send_text("low")
    parameters = [{"name": "Code", "value": CODE}]
    assert smsir.calls == [
        ("/v1/send/verify", {"mobile": DIALLED, "templateId": 123456, "parameters": parameters}),
        ("/v1/send/bulk", {"lineNumber": 30004505000017, "messageText": "low", "mobiles": [DIALLED]}),
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, KeyRefused),
        (411, NumberRefused),
        (412, LineRefused),
        (418, OutOfCredit),
        (424, TemplateRefused),
        (402, SendError),
    ],
)
def test_kavenegars_refusals_have_types(kavenegar: Provider, status: int, kind: type[SendError]) -> None:
    kavenegar.refusal = status
    for send in (send_code, send_text):
        with pytest.raises(SendError, match=str(status)) as refused:
            send()
        assert type(refused.value) is kind
    assert kavenegar.sent == []


def test_kavenegars_status_counts_in_the_body_alone(
    kavenegar: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for in_body, over_http in ((200, 404), (418, 200)):
        answer = over_http, {"return": {"status": in_body, "message": ""}, "entries": None}
        monkeypatch.setattr(kavenegar, "answer", lambda *_, answer=answer: answer)
        if in_body == 200:
            send_code()
        else:
            with pytest.raises(OutOfCredit):
                send_code()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (10, KeyRefused),
        (12, KeyRefused),
        (101, LineRefused),
        (102, OutOfCredit),
        (104, NumberRefused),
        (113, TemplateRefused),
        (115, NumberRefused),
        (0, SendError),
        (20, SendError),
    ],
)
def test_smsirs_refusals_have_types(smsir: Provider, status: int, kind: type[SendError]) -> None:
    smsir.refusal = status
    for send in (send_code, send_text):
        with pytest.raises(SendError, match=str(status)) as refused:
            send()
        assert type(refused.value) is kind
    assert smsir.sent == []


def test_a_text_to_a_number_on_smsirs_black_list_was_not_sent(smsir: SMSIr) -> None:
    smsir.is_on_black_list = True
    with pytest.raises(NumberRefused):
        send_text()


def test_without_a_line_smsir_sends_codes_and_no_texts(smsir: Provider, settings: Any) -> None:
    settings.SMSIR_LINE_NUMBER = 0
    with pytest.raises(LineRefused, match="SMSIR_LINE_NUMBER"):
        send_text()
    assert smsir.calls == []
    send_code()
    assert smsir.sent == [(DIALLED, CODE)]


@pytest.mark.parametrize(
    "fault",
    ["lost reply", "HTML", "cut", "a list", "empty", "status is true", "endless", "500", "502", "redirect"],
)
def test_an_answer_that_cannot_be_read_leaves_it_open_whether_it_was_sent(
    provider: Provider, fault: str
) -> None:
    provider.fault = fault
    for send in (send_code, send_text):
        with pytest.raises(NoAnswer):
            send()
    assert len(provider.calls) == 2  # nothing is tried twice


def test_a_provider_that_hangs_is_left(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (provider_call.TIMEOUT.connect, provider_call.TIMEOUT.read) == (5, 10)
    monkeypatch.setattr(provider_call, "TIMEOUT", httpx.Timeout(0.1))
    provider.fault = "hangs"
    with pytest.raises(NoAnswer, match="ReadTimeout"):
        send_code()


def test_a_provider_that_trickles_is_left(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_call, "TOTAL_SECONDS", -1)
    with pytest.raises(NoAnswer, match="slow"):
        send_code()


def test_a_provider_that_is_not_there_has_sent_nothing(provider: Provider, settings: Any) -> None:
    settings.KAVENEGAR_BASE_URL = settings.SMSIR_BASE_URL = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable):
        send_code()


@pytest.mark.parametrize("key", ["کلید", "two words\n"])
def test_a_key_that_cannot_be_one_is_an_error_like_any_other(
    provider: Provider, settings: Any, key: str
) -> None:
    settings.KAVENEGAR_API_KEY = settings.SMSIR_API_KEY = key
    with pytest.raises(SendError) as refused:
        send_code()
    assert key.strip() not in str(refused.value)


def test_what_only_the_operator_can_mend_is_told_apart() -> None:
    kinds = (KeyRefused, OutOfCredit, TemplateRefused, LineRefused, NumberRefused, NoAnswer, Unreachable)
    assert [issubclass(kind, NeedsOperator) for kind in kinds] == [True] * 4 + [False] * 3


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception with what led to it, shown in tracebacks or not."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("case", ["", "refused", "wrong key", "500", "HTML", "lost reply", "hangs", "gone"])
def test_neither_key_nor_code_nor_number_gets_into_a_log_an_error_or_a_repr(
    provider: Provider,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(provider_call, "TIMEOUT", httpx.Timeout(0.2))
    key = provider.key
    if case == "refused":
        provider.refusal = 418
    elif case == "wrong key":
        key = settings.KAVENEGAR_API_KEY = settings.SMSIR_API_KEY = "WrongButStillSecret"
    elif case == "gone":
        settings.KAVENEGAR_BASE_URL = settings.SMSIR_BASE_URL = f"http://127.0.0.1:{free_port()}"
    else:
        provider.fault = case
    told = [repr(sending.provider()), str(sending.provider())]
    try:
        send_code()
    except SendError as error:
        logging.getLogger("accounts").exception("it failed")
        told += [*traceback.format_exception(error), *(f"{link!r} {vars(link)}" for link in chain(error))]
    else:
        assert case == ""
    told += [f"{vars(record)}{record.getMessage()}" for record in caplog.records]
    for secret in (key, httpx.URL(f"http://x/{key}").raw_path.decode()[1:], CODE, DIALLED, MOBILE):
        assert secret not in "\n".join(told)


def test_a_provider_that_drips_its_headers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_call, "TOTAL_SECONDS", 0.5)
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        with server, server.accept()[0] as connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.05):
                connection.sendall(b"a")

    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    thread = threading.Thread(target=drip, args=[server])
    thread.start()
    try:
        assert provider_call.post(f"http://127.0.0.1:{port}/") == provider_call.CallFailed("too slow")
    finally:
        over.set()
        thread.join()
