"""What Celery does for accounts."""

import logging

from celery import shared_task
from django.utils import timezone

from accounts import challenges, message_counts, sessions
from accounts.channel_models import ChannelName
from accounts.channels import chats, delivery, notices, polling
from accounts.signals import delivery as webhooks
from accounts.signals import outbox
from accounts.sms import sending

logger = logging.getLogger(__name__)


@shared_task(name="accounts.purge_challenges", soft_time_limit=60)
def purge_challenges() -> None:
    challenges.purge(now=timezone.now())
    sending.purge()


@shared_task(name="accounts.count_messages", soft_time_limit=60)
def count_messages() -> None:
    message_counts.count()


@shared_task(name="accounts.purge_sessions", soft_time_limit=60)
def purge_sessions() -> None:
    sessions.purge()


@shared_task(name="accounts.deliver_webhooks", soft_time_limit=120)
def deliver_webhooks() -> None:
    webhooks.run()


@shared_task(name="accounts.purge_webhooks", soft_time_limit=300)
def purge_webhooks() -> None:
    outbox.purge(now=timezone.now())


@shared_task(name="accounts.send_notices", soft_time_limit=120)
def send_notices(channel: str) -> None:
    delivery.deliver(ChannelName(channel))


@shared_task(name="accounts.poll_bot", soft_time_limit=120)
def poll_bot(channel: str) -> None:
    polling.poll(ChannelName(channel))


@shared_task(name="accounts.purge_notices", soft_time_limit=300)
def purge_notices() -> None:
    chats.purge()
    given_up = notices.purge()
    if given_up:
        logger.error("notices given up", extra={"count": given_up})
