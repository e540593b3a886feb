"""Asking for a code and answering it, with a provider that keeps what it was given."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from accounts import challenges, opening, sign_in
from accounts.models import Challenge, User
from accounts.sms import sending
from tests.accounts.people import NOW, another, new_address, new_mobile
from wallet.ledger.models import JournalEntry, Wallet


class Outbox:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.in_transaction: list[bool] = []
        self.error: sending.SendError | None = None

    def send_code(self, *, mobile: str, code: str, text: str) -> None:
        self.in_transaction.append(connection.in_atomic_block)
        if self.error:
            raise self.error
        self.sent.append((mobile, code, text))


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Outbox:
    box = Outbox()
    monkeypatch.setattr(sending, "provider", lambda: box)
    return box


def ask(mobile: str, *, seconds: int = 0) -> challenges.Issued:
    return sign_in.send_code(mobile=mobile, address=new_address(), now=NOW + timedelta(seconds=seconds))


def answer(
    issued: challenges.Issued, *, code: str | None = None, seconds: int = 1, browser_secret: str | None = None
) -> User:
    return sign_in.verify_code(
        challenge_id=issued.id,
        browser_secret=browser_secret or issued.browser_secret,
        code=code or issued.code,
        now=NOW + timedelta(seconds=seconds),
    )


@pytest.mark.django_db
def test_the_right_code_opens_the_account_with_its_wallet_and_credit(outbox: Outbox) -> None:
    mobile = new_mobile()
    user = answer(ask(mobile))
    assert (user.mobile, user.tier.name, user.has_usable_password()) == (mobile, "Free", False)
    credit = user.tier.sign_up_credit_micro
    assert Wallet.objects.get(user=user).posted_micro == credit > 0
    assert list(JournalEntry.objects.filter(wallet__user=user).values_list("kind", "amount_micro")) == [
        ("sign_up_credit", credit)
    ]


@pytest.mark.django_db
def test_the_second_sign_in_finds_the_same_account_and_gives_nothing_more(outbox: Outbox) -> None:
    mobile = new_mobile()
    first = answer(ask(mobile))
    second = answer(ask(mobile, seconds=10), seconds=11)
    assert first == second
    assert JournalEntry.objects.filter(wallet__user=first).count() == 1


@pytest.mark.django_db
def test_nothing_is_opened_for_a_number_that_was_only_asked_for(outbox: Outbox) -> None:
    mobile = new_mobile()
    ask(mobile)
    assert not User.objects.filter(mobile=mobile).exists()


@pytest.mark.django_db
def test_the_sms_goes_to_the_number_with_the_code_and_the_webotp_line(outbox: Outbox) -> None:
    mobile = new_mobile()
    issued = ask(mobile)
    [(receiver, code, text)] = outbox.sent
    assert (receiver, code) == (mobile, issued.code)
    assert text.splitlines()[-1] == f"@127.0.0.1 #{issued.code}"


@pytest.mark.django_db
def test_a_wrong_code_says_how_many_tries_are_left_and_the_fifth_is_the_last(outbox: Outbox) -> None:
    issued = ask(new_mobile())
    for left in (4, 3, 2, 1, 0):
        with pytest.raises(sign_in.WrongCode) as wrong:
            answer(issued, code=another(issued.code))
        assert wrong.value.tries_remaining == left
    with pytest.raises(challenges.NotValid):
        answer(issued)


@pytest.mark.django_db
def test_a_code_signs_in_once(outbox: Outbox) -> None:
    issued = ask(new_mobile())
    answer(issued)
    with pytest.raises(challenges.NotValid):
        answer(issued)


@pytest.mark.django_db
def test_a_code_under_a_pepper_that_is_gone_signs_nobody_in(outbox: Outbox, settings: Any) -> None:
    issued = ask(new_mobile())
    settings.PEPPERS = {9: b"another"}
    with pytest.raises(challenges.NotValid):
        answer(issued)


@pytest.mark.django_db
def test_a_code_under_the_pepper_before_the_newest_still_works(outbox: Outbox, settings: Any) -> None:
    mobile = new_mobile()
    issued = ask(mobile)
    settings.PEPPERS = {9: b"another", **settings.PEPPERS}
    assert answer(issued).mobile == mobile
    assert Challenge.objects.get(id=ask(new_mobile()).id).pepper_version == 9


@pytest.mark.django_db
def test_a_closed_account_gets_its_code_like_any_other_and_stays_out(outbox: Outbox) -> None:
    mobile = new_mobile()
    User.objects.filter(pk=opening.open_account(mobile=mobile).pk).update(is_active=False)
    issued = ask(mobile)
    assert len(outbox.sent) == 1
    with pytest.raises(sign_in.AccountClosed):
        answer(issued)


@pytest.mark.django_db
def test_asking_does_the_same_for_known_and_unknown_numbers(
    outbox: Outbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    known = opening.open_account(mobile=new_mobile()).mobile
    for mobile in (known, new_mobile()):
        # savepoint, two locks, three limits, void, insert, release: no query looks for a user
        with django_assert_num_queries(13):
            ask(mobile)


@pytest.mark.usefixtures("committed_db")
def test_a_code_that_was_not_sent_is_void_and_the_person_may_soon_try_again(outbox: Outbox) -> None:
    outbox.error = sending.SendError("timed out")
    mobile = new_mobile()
    with pytest.raises(sign_in.SendFailed) as failed:
        ask(mobile)
    assert failed.value.wait_seconds == 60
    assert Challenge.objects.get(mobile=mobile).voided_at == NOW
    assert outbox.in_transaction == [False]


@pytest.mark.django_db
def test_logs_hold_neither_code_nor_number(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    mobile = new_mobile()
    issued = ask(mobile)
    with pytest.raises(sign_in.WrongCode):
        answer(issued, code=another(issued.code))
    answer(issued)
    outbox.error = sending.SendError("timed out")
    with pytest.raises(sign_in.SendFailed):
        ask(mobile, seconds=30)
    lines = "\n".join(
        str(vars(record)) for record in caplog.records if not record.name.startswith("django.db")
    )
    assert "sms_failed" in lines
    for secret in (issued.code, mobile, mobile.removeprefix("+98")):
        assert secret not in lines


@pytest.mark.django_db
def test_going_over_the_budget_is_logged_as_an_error(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    ask(new_mobile())
    settings.CODES_PER_HOUR = 1
    with pytest.raises(challenges.OverBudget):
        ask(new_mobile(), seconds=1)
    assert ("accounts.sign_in", logging.ERROR, "codes_over_budget") in caplog.record_tuples


def test_the_console_is_a_provider_in_the_sandbox_alone(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sending.provider().send_code(mobile="+989121234567", code="123456", text="Hamiran code: 123456")
    assert "123456" in capsys.readouterr().out
    settings.SANDBOX = False
    with pytest.raises(sending.NotConfigured):
        sending.provider()


@pytest.mark.usefixtures("committed_db")
def test_two_first_sign_ins_at_once_open_one_account() -> None:
    mobile = new_mobile()
    barrier = threading.Barrier(6)

    def open_it(_: Any) -> int:
        try:
            barrier.wait()
            return opening.open_account(mobile=mobile).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        ids = set(pool.map(open_it, range(6)))
    assert len(ids) == 1
    assert JournalEntry.objects.filter(wallet_id=ids.pop()).count() == 1


@pytest.mark.django_db
def test_an_account_without_its_wallet_is_not_opened_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*, user_id: int) -> None:
        raise RuntimeError("no wallet today")

    monkeypatch.setattr("wallet.opening.open_wallet", fail)
    mobile = new_mobile()
    with pytest.raises(RuntimeError, match="no wallet today"):
        opening.open_account(mobile=mobile)
    assert not User.objects.filter(mobile=mobile).exists()
