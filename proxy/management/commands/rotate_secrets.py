"""Encrypts every stored secret anew, under the first of FIELD_KEYS."""

from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from accounts import admins
from proxy.catalogue import secrets, upstream_keys
from proxy.management.operator_command import Answer, OperatorCommand


class Command(OperatorCommand):
    help = (
        "Encrypt all upstream keys and seeds of authenticators under the newest of FIELD_KEYS; the older ones can go "
        "afterwards."
    )

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            with transaction.atomic():
                upstreams, seeds = upstream_keys.rotate_all(), admins.rotate_seeds()
        except secrets.Undecryptable as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        return Answer(
            data={"rotated": upstreams + seeds},
            text=f"{upstreams} upstream keys and {seeds} authenticators are encrypted under the newest key.",
        )
