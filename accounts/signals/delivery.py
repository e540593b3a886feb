"""Delivers what is due: many endpoints at once, each in order, none longer than its turn."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import datetime
from time import monotonic
from types import TracebackType

from django.conf import settings
from django.utils import timezone

from accounts.signals import queue, signing
from accounts.signals.models import WebhookDelivery
from accounts.signals.queue import Claim
from accounts.signals.sending import Answer, post

logger = logging.getLogger(__name__)

SECONDS_PER_RUN = 40.0
AT_ONCE = 32
LOOK_SECONDS = 1.0  # for what has become due while receivers are slow
TURN_MAX = 20  # deliveries to one endpoint before others have their turn


class Sender:
    """An event loop in a thread of its own: attempts run there, and the database is only touched outside of it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="webhooks", daemon=True)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def send(self, claim: Claim, *, now: datetime) -> "Future[Answer]":
        """Ends by itself, within the bounds of `sending`."""
        return asyncio.run_coroutine_threadsafe(_attempt(claim, now), self._loop)


def run(*, now: Callable[[], datetime] = timezone.now, seconds: float = SECONDS_PER_RUN) -> int:
    """Attempts whatever is due until nothing is, or until the time is over; returns how many attempts it made.

    Calls receivers, so it belongs outside transactions. Any number of runs may go on at once.
    """
    made, end = 0, monotonic() + seconds
    with Sender() as sender:
        running: dict[Future[Answer], tuple[Claim, int, float]] = {}

        def start(claim: Claim, turn: int) -> None:
            running[sender.send(claim, now=now())] = (claim, turn, monotonic())

        while True:
            if monotonic() < end and len(running) < AT_ONCE:
                for claim in queue.claim(limit=AT_ONCE - len(running), now=now()):
                    start(claim, 1)
            if not running:
                return made
            for attempt in wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done:
                claim, turn, started = running.pop(attempt)
                made += 1
                answer = attempt.result()
                _log(claim, answer, monotonic() - started)
                goes_on = turn < TURN_MAX and monotonic() < end
                following = queue.record(claim, answer, now=now(), goes_on=goes_on)
                if following is not None:
                    start(following, turn + 1)


async def _attempt(claim: Claim, now: datetime) -> Answer:
    if not claim.signing_secrets:
        return Answer(WebhookDelivery.Error.SECRET)
    headers = signing.headers(
        event_id=str(claim.event_id),
        timestamp=int(now.timestamp()),
        body=claim.body,
        signing_secrets=claim.signing_secrets,
    )
    headers |= {"content-type": "application/json", "user-agent": "Hamiran-Webhooks/1"}
    allowed_hosts = frozenset(settings.WEBHOOK_ALLOWED_HOSTS)
    try:
        return await post(claim.address, body=claim.body, headers=headers, allowed_hosts=allowed_hosts)
    except Exception:  # a defect of ours must not keep the others waiting
        logger.exception("webhook not attempted", extra={"endpoint_id": claim.endpoint_id})
        return Answer(WebhookDelivery.Error.PROTOCOL)


def _log(claim: Claim, answer: Answer, seconds: float) -> None:
    """Says nothing of the address, which may hold a secret of the receiver's."""
    logger.info(
        "webhook attempted",
        extra={
            "endpoint_id": claim.endpoint_id,
            "event_id": str(claim.event_id),
            "event": claim.event,
            "attempt": claim.attempts + 1,
            "status": answer.status,
            "error": answer.error,
            "seconds": round(seconds, 3),
        },
    )
