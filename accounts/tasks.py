"""What Celery does for accounts."""

import logging
from threading import Lock

from celery import shared_task
from django.utils import timezone

from accounts import challenges, sessions
from accounts.channel_models import ChannelName
from accounts.channels import chats, delivery, notices, polling
from accounts.signals import delivery as webhooks
from accounts.signals import outbox
from accounts.sms import sending

logger = logging.getLogger(__name__)
_delivering_webhooks = Lock()


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
    if _delivering_webhooks.acquire(blocking=False):
        try:
            webhooks.run()
        finally:
            _delivering_webhooks.release()


@shared_task(name="accounts.purge_webhooks")
def purge_webhooks() -> None:
    outbox.purge(now=timezone.now())


@shared_task(name="accounts.send_notices")
def send_notices(channel: str) -> None:
    delivery.deliver(ChannelName(channel))


@shared_task(name="accounts.poll_bot")
def poll_bot(channel: str) -> None:
    polling.poll(ChannelName(channel))


@shared_task(name="accounts.purge_notices")
def purge_notices() -> None:
    chats.purge()
    given_up = notices.purge()
    if given_up:
        logger.error("notices given up", extra={"count": given_up})
