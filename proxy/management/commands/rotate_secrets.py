"""Encrypts every stored secret anew, under the first of FIELD_KEYS."""

from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from accounts import admins
from accounts.signals import endpoints
from proxy.catalogue import secrets, upstream_keys
from proxy.management.operator_command import Answer, OperatorCommand


class Command(OperatorCommand):
    help = (
        "Encrypt all upstream keys, seeds of authenticators and secrets of webhooks under the newest of FIELD_KEYS; "
        "the older ones can go afterwards."
    )

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            with transaction.atomic():
                upstreams, seeds = upstream_keys.rotate_all(), admins.rotate_seeds()
                webhooks = endpoints.rotate_field_keys()
        except secrets.Undecryptable as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        return Answer(
            data={"rotated": upstreams + seeds + webhooks},
            text=(
                f"{upstreams} upstream keys, {seeds} authenticators and {webhooks} webhooks are encrypted under the "
                "newest key."
            ),
        )
