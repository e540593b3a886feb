"""Events reach their receiver signed and in order, and whatever it does, nothing is lost and nobody else waits."""

import base64
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection
from standardwebhooks import Webhook, WebhookVerificationError

import config.celery  # noqa: F401 - the application that beat and worker load
from accounts import secrets, tasks
from accounts.signals import delivery, endpoints, queue, sending
from accounts.signals.models import WebhookEndpoint
from accounts.signals.sending import Answer
from tests.accounts.signals import receiver as receivers
from tests.accounts.signals.conftest import Clock, happen, happen_at, head, run, states
from tests.accounts.signals.receiver import Receiver, raw, status
from tests.factories import SIGNING_SECRET, WebhookEndpointFactory


def test_an_event_arrives_once_signed_as_the_official_library_checks_it(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    happen(endpoint, 1)
    clock.now = endpoint.deliveries.get().queued_at
    assert run(clock) == 1
    assert run(clock) == 0
    (got,) = receiver.got
    told = Webhook(SIGNING_SECRET).verify(got.body, got.headers)
    event = endpoint.deliveries.get().event
    assert told["type"] == "key.created"
    assert told["data"] == {"n": 1}
    assert told["timestamp"] == event.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert got.id == str(event.id)
    assert (got.path, got.headers["content-type"]) == ("/hook", "application/json")
    assert states(endpoint) == ["delivered"]
    with pytest.raises(WebhookVerificationError):
        Webhook(SIGNING_SECRET).verify(got.body.replace(b"1", b"2"), got.headers)


def test_events_arrive_in_the_order_in_which_they_happened(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    happen(endpoint, *range(30))  # more than one turn
    assert run(clock) == 30
    assert receiver.numbers() == list(range(30))


def test_a_receiver_that_was_down_for_24_hours_gets_everything_in_order(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    receiver.answer = status(503)
    happen_at(endpoint, 0, clock)
    for half_hours in range(1, 49):
        run(clock)
        clock.go(minutes=30)
        happen_at(endpoint, half_hours, clock)
    assert set(receiver.numbers()) == {0}  # the others wait for the first one
    assert 12 < len(receiver.got) < 25
    assert set(states(endpoint)) == {"waiting"}
    receiver.got.clear()
    receiver.answer = status(200)
    run(clock)  # as the 24 hours of the first one end
    assert receiver.numbers() == list(range(49))
    assert len({each.id for each in receiver.got}) == 49
    assert set(states(endpoint)) == {"delivered"}
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None
    for each in receiver.got:
        Webhook(SIGNING_SECRET).verify(each.body, _as_of_now(each.headers, each.body))


def test_of_a_receiver_that_stays_away_each_event_is_tried_for_its_own_24_hours(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    receiver.answer = status(503)
    happen_at(endpoint, 0, clock)
    clock.go(hours=6)
    happen_at(endpoint, 1, clock)
    while clock() < endpoint.deliveries.earliest("id").queued_at + timedelta(hours=24):
        run(clock)
        clock.go(minutes=20)
    run(clock)
    assert states(endpoint) == ["given_up", "waiting"]
    clock.go(hours=5)
    run(clock)
    assert states(endpoint) == ["given_up", "waiting"]
    clock.go(hours=1)
    run(clock)
    assert states(endpoint) == ["given_up", "given_up"]
    assert receiver.numbers() == sorted(receiver.numbers())


def _as_of_now(headers: dict[str, str], body: bytes) -> dict[str, str]:
    """The official library refuses what is five minutes from its own clock, so its own signature is compared."""
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(SIGNING_SECRET).sign(headers["webhook-id"], moment, body.decode())
    assert headers["webhook-signature"] == expected
    now = datetime.now(UTC)
    return headers | {
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SIGNING_SECRET).sign(headers["webhook-id"], now, body.decode()),
    }


def test_after_24_hours_an_event_is_given_up_and_the_next_go_on(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:

    def refuse_the_first(handler: Any) -> None:
        status(500 if receiver.numbers()[-1] == 0 else 200)(handler)

    receiver.answer = refuse_the_first
    happen(endpoint, 0, 1, 2)
    clock.now = head(endpoint).queued_at
    run(clock)
    clock.go(hours=24)
    run(clock)
    assert states(endpoint) == ["given_up", "delivered", "delivered"]
    assert receiver.numbers() == [0, 0, 1, 2]
    given_up = endpoint.deliveries.order_by("id")[0]
    assert (given_up.attempts, given_up.status, given_up.error) == (2, 500, "status")


def test_a_failing_event_holds_up_its_own_endpoint_only(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    with receivers.running() as other:
        WebhookEndpointFactory.create(user=endpoint.user, address=other.address)
        receiver.answer = status(500)
        happen(endpoint, 1, 2, 3)
        run(clock)
        assert receiver.numbers() == [1]
        assert other.numbers() == [1, 2, 3]
    endpoint.refresh_from_db()
    assert endpoint.failing_since == clock.now


def test_a_worker_killed_between_sending_and_marking_delivers_again_under_the_same_id(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    happen(endpoint, 1, 2)
    (claim,) = queue.claim(limit=9, now=clock())
    with delivery.Sender() as sender:
        assert sender.send(claim, now=clock()).result() == Answer(status=204)
    # It dies here. Nobody else sends before its lease is over, and then all goes on.
    assert run(clock) == 0
    clock.go(seconds=61)
    assert run(clock) == 2
    assert receiver.numbers() == [1, 1, 2]
    assert receiver.got[0].id == receiver.got[1].id
    assert receiver.got[0].body == receiver.got[1].body


def test_a_worker_that_comes_late_undoes_nothing(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    happen(endpoint, 1, 2)
    (late,) = queue.claim(limit=9, now=clock())
    clock.go(seconds=61)
    run(clock)
    assert queue.record(late, Answer("timeout"), now=clock(), goes_on=True) is None
    assert states(endpoint) == ["delivered", "delivered"]
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None


def test_two_workers_at_once_keep_the_order_and_send_nothing_twice(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    with receivers.running() as other:
        WebhookEndpointFactory.create(user=endpoint.user, address=other.address)
        happen(endpoint, *range(25))

        def work() -> None:
            try:
                run(clock)
            finally:
                connection.close()

        workers = [threading.Thread(target=work) for _ in range(2)]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        run(clock)
        assert receiver.numbers() == other.numbers() == list(range(25))


def test_a_slow_receiver_keeps_nobody_else_waiting(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 1.5)
    may_end = threading.Event()
    arrived: list[float] = []
    with receivers.running() as other:
        WebhookEndpointFactory.create(user=endpoint.user, address=other.address)

        def note(handler: Any) -> None:
            arrived.append(time.monotonic())
            status(200)(handler)

        other.answer = note

        def hang(handler: Any) -> None:
            may_end.wait(20)

        receiver.answer = hang
        happen(endpoint, 1, 2)
        run(clock)
        ended = time.monotonic()
        may_end.set()
        assert len(arrived) == 2
        assert max(arrived) < ended
    assert receiver.numbers() == [1]
    assert (head(endpoint).error, head(endpoint).status) == ("timeout", None)


def test_a_receiver_that_drips_its_answer_is_left(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 1.0)
    gone = threading.Event()

    def drip(handler: Any) -> None:
        try:
            for _ in range(200):
                handler.wfile.write(b"H")
                handler.wfile.flush()
                if gone.wait(0.05):
                    return
        except OSError:
            gone.set()

    receiver.answer = drip
    happen(endpoint, 1)
    run(clock)
    gone.set()
    assert head(endpoint).error in ("timeout", "protocol")


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (raw(b"\x00\xff nothing of HTTP \r\n\r\n"), "protocol", None),
        (raw(b""), "protocol", None),
        (status(301, location="http://127.0.0.1:1/elsewhere"), "status", 301),
        (status(404), "status", 404),
        (status(500), "status", 500),
    ],
)
def test_what_is_no_success_is_tried_again(
    answer: Any, error: str, code: int | None, endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    receiver.answer = answer
    happen(endpoint, 1)
    run(clock)
    waiting = head(endpoint)
    assert (waiting.error, waiting.status, waiting.attempts) == (error, code, 1)
    assert waiting.next_at is not None
    assert timedelta(seconds=4) <= waiting.next_at - clock() <= timedelta(seconds=6)
    assert run(clock) == 0
    receiver.answer = status(200)
    clock.go(seconds=7)
    assert run(clock) == 1
    assert states(endpoint) == ["delivered"]


def test_an_answer_without_end_counts_by_its_status(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    def endless(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        try:
            for _ in range(10_000):
                handler.wfile.write(b"x" * 10_000)
        except OSError:
            handler.close_connection = True

    receiver.answer = endless
    happen(endpoint, 1)
    run(clock)
    assert states(endpoint) == ["delivered"]


def test_nobody_listening_is_a_failure_like_others(clock: Clock) -> None:
    with receivers.running() as gone:
        address = gone.address
    endpoint = WebhookEndpointFactory.create(address=address)
    happen(endpoint, 1)
    run(clock)
    assert head(endpoint).error == "connect"


def test_an_endpoint_that_answers_410_is_disabled_and_loses_nothing_when_it_is_resumed(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    receiver.answer = status(410)
    happen(endpoint, 1, 2)
    run(clock)
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.disabled_because) == ("disabled", "gone")
    happen(endpoint, 3)  # it is told of nothing more
    clock.go(days=1)
    assert run(clock) == 0
    receiver.answer = status(200)
    endpoints.resume(user_id=endpoint.user_id, endpoint_id=endpoint.pk)
    run(clock)
    assert receiver.numbers() == [1, 1, 2]


def test_an_endpoint_that_has_failed_for_a_week_is_disabled(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    receiver.answer = status(500)
    happen(endpoint, 1)
    run(clock)
    endpoint.refresh_from_db()
    assert endpoint.state == "active"
    happen(endpoint, 2)
    clock.go(days=7)
    run(clock)
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.disabled_because) == ("disabled", "failing")


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_honoured(
    code: int, endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    receiver.answer = status(code, retry_after="3600")
    happen(endpoint, 1)
    run(clock)
    assert head(endpoint).next_at == clock() + timedelta(hours=1)


def test_a_paused_endpoint_gets_what_happened_meanwhile_once_it_is_resumed(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    endpoints.pause(user_id=endpoint.user_id, endpoint_id=endpoint.pk)
    happen(endpoint, 1, 2)
    clock.go(days=3)
    assert run(clock) == 0
    endpoints.resume(user_id=endpoint.user_id, endpoint_id=endpoint.pk)
    run(clock)
    assert receiver.numbers() == [1, 2]
    assert states(endpoint) == ["delivered", "delivered"]


def test_after_a_rotation_both_secrets_sign_for_a_day_and_then_the_new_one_alone(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    new = endpoints.rotate_secret(user_id=endpoint.user_id, endpoint_id=endpoint.pk).secret
    assert new != SIGNING_SECRET
    assert len(base64.b64decode(new.removeprefix("whsec_"))) == 32
    happen(endpoint, 1)
    run(clock)
    for secret in (SIGNING_SECRET, new):
        Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)
    clock.go(hours=24, seconds=1)
    happen(endpoint, 2)
    run(clock)
    assert receiver.got[1].headers["webhook-signature"].count("v1,") == 1


def test_a_secret_that_cannot_be_read_signs_nothing_and_says_so(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock, settings: Any
) -> None:
    settings.FIELD_KEYS = ["another key of at least 32 characters"]
    endpoint.secret_encrypted, known = secrets.encrypt(SIGNING_SECRET), settings.FIELD_KEYS
    endpoint.save()
    settings.FIELD_KEYS = ["yet another one of at least 32 characters"]
    happen(endpoint, 1)
    run(clock)
    assert receiver.got == []
    assert head(endpoint).error == "secret"
    settings.FIELD_KEYS = ["yet another one of at least 32 characters", *known]
    WebhookEndpoint.objects.exclude(pk=endpoint.pk).delete()
    assert endpoints.rotate_field_keys() == 1
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    clock.go(seconds=10)
    run(clock)
    Webhook(SIGNING_SECRET).verify(receiver.got[0].body, receiver.got[0].headers)


def test_the_log_has_a_line_for_each_attempt_and_nothing_secret(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(address=f"{receiver.address}?token=sesame")
    happen(endpoint, 1)
    with caplog.at_level("INFO"):
        run(clock)
    (line,) = [each for each in caplog.records if each.message == "webhook attempted"]
    said = {name: line.__dict__[name] for name in ("endpoint_id", "event", "attempt", "status", "error")}
    assert said == {
        "endpoint_id": endpoint.pk, "event": "key.created", "attempt": 1, "status": 204, "error": "",
    }  # fmt: skip
    assert receiver.got[0].path == "/hook?token=sesame"
    assert "sesame" not in str([each.__dict__ for each in caplog.records])


def test_beat_sends_the_tasks_and_a_run_of_one_worker_does_not_begin_while_another_goes_on(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    of_beat = {str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {"accounts.deliver_webhooks", "accounts.purge_webhooks"} <= of_beat & set(current_app.tasks)

    def look(handler: Any) -> None:
        happen(endpoint, 2)
        tasks.deliver_webhooks()
        connection.close()
        receiver.answer = status(200)
        status(200)(handler)

    happen(endpoint, 1)
    receiver.answer = look
    tasks.deliver_webhooks()
    assert receiver.numbers() == [1, 2]
    tasks.purge_webhooks()
    assert states(endpoint) == ["delivered", "delivered"]
