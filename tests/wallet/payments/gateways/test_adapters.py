"""What both adapters make of what their provider says, over real HTTP."""

import logging
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest

from accounts.shared import provider_call
from tests.wallet.payments.gateways.servers import CARD, Provider, Zarinpal
from wallet.money import micro_from_rial
from wallet.payments import gateways
from wallet.payments.gateways.interface import (
    AmountDiffers,
    GatewayError,
    NotPaid,
    PaymentGateway,
    PaymentRequest,
    Pending,
    Started,
    Verified,
    masked_pan,
)

AMOUNT = micro_from_rial(500_000)


def gateway(provider: Provider) -> PaymentGateway:
    return gateways.named(type(provider).__name__.lower())


def asked(provider: Provider) -> Started | GatewayError:
    payment = PaymentRequest(uuid4(), AMOUNT, "+989121234567", "https://shop.example/back/")
    return gateway(provider).start(payment)


def started(provider: Provider) -> str:
    answer = asked(provider)
    assert isinstance(answer, Started)
    return answer.authority


def verify(provider: Provider, authority: str, amount_micro: int = AMOUNT) -> Any:
    return gateway(provider).verify(authority=authority, amount_micro=amount_micro)


def test_a_payment_is_asked_for_in_rial_and_with_the_mobile_as_it_is_dialled(provider: Provider) -> None:
    answer = asked(provider)
    assert isinstance(answer, Started)
    payment = provider.book[answer.authority]
    assert payment.amount_rial == 500_000
    assert payment.callback_url == "https://shop.example/back/"
    assert "09121234567" in str(payment.request)
    assert answer.redirect_url.startswith(provider.url)
    assert answer.redirect_url.endswith(f"/{answer.authority}")
    assert httpx.get(answer.redirect_url).status_code == 200


def test_a_paid_payment_verifies_and_a_second_time_as_verified_before(provider: Provider) -> None:
    authority = started(provider)
    provider.pay(authority)
    ref_id = str(provider.book[authority].ref_id)
    assert verify(provider, authority) == Verified(ref_id, is_repeated=False, card_pan=CARD)
    assert verify(provider, authority) == Verified(ref_id, is_repeated=True, card_pan=CARD)
    assert provider.book[authority].is_verified


def test_a_verified_answer_that_was_lost_is_told_again(provider: Provider) -> None:
    authority = started(provider)
    provider.pay(authority)
    provider.faults = ["lost reply"]
    assert isinstance(verify(provider, authority), GatewayError)
    assert isinstance(verify(provider, authority), Verified)


def test_a_payment_that_failed_is_not_paid_and_one_that_is_open_is_pending(provider: Provider) -> None:
    authority = started(provider)
    assert verify(provider, authority) == Pending()
    provider.fail(authority)
    assert verify(provider, authority) == NotPaid()


@pytest.mark.parametrize("repeats", [1, 2])
def test_another_amount_is_for_a_human(provider: Provider, repeats: int) -> None:
    authority = started(provider)
    provider.pay(authority)
    provider.book[authority].amount_rial -= 1
    for _ in range(repeats):
        assert isinstance(verify(provider, authority), AmountDiffers)


@pytest.mark.parametrize(
    "fault", ["lost request", "lost reply", "HTML", "cut", "a list", "500", "502", "endless"]
)
def test_an_answer_that_cannot_be_used_says_nothing_about_the_payment(provider: Provider, fault: str) -> None:
    provider.faults = [fault]
    assert isinstance(asked(provider), GatewayError)
    authority = started(provider)
    for state in ("open", "failed", "paid"):
        provider.book[authority].state = state
        provider.faults = [fault]
        assert isinstance(verify(provider, authority), GatewayError), state
    assert isinstance(verify(provider, authority), Verified)


@pytest.mark.parametrize("state", ["open", "failed"])
def test_an_inquiry_without_an_answer_leaves_the_payment_open(provider: Provider, state: str) -> None:
    authority = started(provider)
    provider.book[authority].state = state
    provider.faults = ["", "502"]
    assert isinstance(verify(provider, authority), GatewayError)


def test_a_gateway_that_hangs_or_trickles_is_left(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = started(provider)
    monkeypatch.setattr(provider_call, "TIMEOUT", httpx.Timeout(0.1))
    provider.faults = ["hangs"]
    assert verify(provider, authority) == GatewayError("ReadTimeout")
    monkeypatch.setattr(provider_call, "TOTAL_SECONDS", -1)
    assert isinstance(verify(provider, authority), GatewayError)


def test_a_gateway_that_is_not_there_is_an_error(provider: Provider, settings: Any) -> None:
    authority = started(provider)
    settings.ZARINPAL_BASE_URL = settings.ZIBAL_BASE_URL = "http://127.0.0.1:9"
    assert verify(provider, authority) == GatewayError("ConnectError")
    assert asked(provider) == GatewayError("ConnectError")


def test_a_payment_that_the_gateway_does_not_know_is_an_error_and_not_a_failure(provider: Provider) -> None:
    assert isinstance(verify(provider, "123456"), GatewayError)


def test_a_wrong_merchant_is_an_error_and_nothing_secret_is_told(
    provider: Provider, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    authority = started(provider)
    secret = settings.ZARINPAL_MERCHANT_ID = settings.ZIBAL_MERCHANT = "00000000-secret-merchant-000000000000"
    answers = [asked(provider), verify(provider, authority)]
    provider.faults = ["500", "HTML", "lost reply"]
    answers += [verify(provider, authority) for _ in range(3)]
    assert all(isinstance(answer, GatewayError) for answer in answers)
    assert any(secret in str(body) for _call, body in provider.calls)
    assert secret not in f"{answers}{gateway(provider)!r}{caplog.text}"


def test_between_verify_and_inquiry_a_payment_may_be_paid(provider: Provider) -> None:
    authority = started(provider)

    def pay(call: str) -> None:
        provider.pay(authority)

    provider.before_answer = pay
    assert isinstance(verify(provider, authority), GatewayError)
    assert isinstance(verify(provider, authority), Verified)


def test_a_callback_names_its_payment(provider: Provider) -> None:
    authority = started(provider)
    assert gateway(provider).returned_authority(provider.callback(authority)) == authority
    assert gateway(provider).returned_authority({}) is None


def test_zarinpals_errors_may_come_as_a_list(zarinpal: Zarinpal) -> None:
    zarinpal.errors_as_list = True
    authority = started(zarinpal)
    zarinpal.fail(authority)
    assert verify(zarinpal, authority) == NotPaid()


def test_zarinpal_lists_what_was_paid_and_not_verified(zarinpal: Provider) -> None:
    paid, verified, _open = (started(zarinpal) for _ in range(3))
    zarinpal.pay(paid)
    zarinpal.pay(verified)
    verify(zarinpal, verified)
    assert gateway(zarinpal).unverified() == [paid]
    zarinpal.faults = ["502"]
    assert gateway(zarinpal).unverified() == GatewayError("HTTP status 502")


def test_zibal_has_no_such_list(zibal: Provider) -> None:
    zibal.pay(started(zibal))
    calls = len(zibal.calls)
    assert gateway(zibal).unverified() == ()
    assert len(zibal.calls) == calls


def test_what_the_answer_leaves_out_is_asked_for(zibal: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = started(zibal)
    zibal.pay(authority)
    whole = type(zibal).answer

    def sparse(self: Provider, call: str, body: dict[str, Any]) -> Any:
        status, reply = whole(self, call, body)
        return status, {"result": reply["result"]} if call == "verify" else reply

    monkeypatch.setattr(type(zibal), "answer", sparse)
    answer = verify(zibal, authority)
    assert isinstance(answer, Verified)
    assert answer.ref_id == str(zibal.book[authority].ref_id)


@pytest.mark.parametrize("reference", [None, 0, "", "0"])
def test_a_payment_without_a_reference_goes_by_its_authority(provider: Provider, reference: Any) -> None:
    authority = started(provider)
    provider.pay(authority)
    provider.book[authority].ref_id = reference
    assert verify(provider, authority) == Verified(authority, is_repeated=False, card_pan=CARD)


@pytest.mark.parametrize("authority", [None, "", "a b", "a/../b", "x" * 65, 17, "1?x"])
def test_a_started_payment_needs_an_authority_that_can_stand_in_an_address(
    zarinpal: Provider, monkeypatch: pytest.MonkeyPatch, authority: Any
) -> None:
    monkeypatch.setattr(
        Zarinpal, "answer", lambda *_: (200, {"data": {"code": 100, "authority": authority}, "errors": []})
    )
    assert isinstance(asked(zarinpal), GatewayError)


@pytest.mark.parametrize("reply", [{"data": None}, {"data": [], "errors": []}, {"data": {"code": True}}, {}])
def test_an_answer_without_a_code_is_an_error(
    zarinpal: Provider, monkeypatch: pytest.MonkeyPatch, reply: dict[str, Any]
) -> None:
    monkeypatch.setattr(Zarinpal, "answer", lambda *_: (200, reply))
    assert verify(zarinpal, "A1") == GatewayError("verify: code None")
    assert isinstance(asked(zarinpal), GatewayError)


def test_forms_may_lead_to_the_gateway_and_to_the_bank(provider: Provider) -> None:
    targets = gateway(provider).form_targets
    assert provider.url in targets
    assert all(re.fullmatch(r"https?://[a-z0-9.*:-]+", target) for target in targets)


@pytest.mark.parametrize(
    ("pan", "masked"),
    [
        ("6104337812345678", "610433******5678"),
        ("610433******5678", "610433******5678"),
        ("610433XXXXXX5678", "610433******5678"),
        ("6104337812", ""),
        (None, ""),
        ("<b>610433******5678", ""),
    ],
)
def test_a_card_number_is_never_kept_whole(pan: object, masked: str) -> None:
    assert masked_pan(pan) == masked
