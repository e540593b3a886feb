"""What Celery does for the installation."""

from celery import shared_task

from config import proofs


@shared_task(name="config.prove_books", soft_time_limit=3600)
def prove_books() -> None:
    proofs.prove_due()
