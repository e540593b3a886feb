"""What Celery does for accounts."""

from celery import shared_task
from django.utils import timezone

from accounts import challenges, sessions
from accounts.sms import sending


@shared_task(name="accounts.purge_challenges")
def purge_challenges() -> None:
    challenges.purge(now=timezone.now())
    sending.purge()


@shared_task(name="accounts.purge_sessions")
def purge_sessions() -> None:
    sessions.purge()
