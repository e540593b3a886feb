"""What Celery does for the installation; beside it, what holds for the tasks of every app."""

from celery import shared_task


@shared_task(name="config.prove_books", soft_time_limit=3600)
def prove_books() -> None:
    from config import proofs  # its models need Django to be set up, and `config.celery` comes before that

    proofs.prove_due()
