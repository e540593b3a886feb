"""What Celery does for accounts."""

from threading import Lock

from celery import shared_task
from django.utils import timezone

from accounts import challenges, sessions
from accounts.signals import delivery, outbox
from accounts.sms import sending

_delivering = Lock()


@shared_task(name="accounts.purge_challenges")
def purge_challenges() -> None:
    challenges.purge(now=timezone.now())
    sending.purge()


@shared_task(name="accounts.purge_sessions")
def purge_sessions() -> None:
    sessions.purge()


@shared_task(name="accounts.deliver_webhooks")
def deliver_webhooks() -> None:
    # A run looks for new work itself, and slow receivers must not take all of a worker's threads.
    if _delivering.acquire(blocking=False):
        try:
            delivery.run()
        finally:
            _delivering.release()


@shared_task(name="accounts.purge_webhooks")
def purge_webhooks() -> None:
    outbox.purge(now=timezone.now())
