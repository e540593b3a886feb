"""Encrypts every stored secret anew, under the first of FIELD_KEYS."""

from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from accounts import admins
from accounts.signals import endpoints
from proxy.api.manage import repeats
from proxy.catalogue import secrets, upstream_keys
from proxy.management.operator_command import Answer, OperatorCommand


class Command(OperatorCommand):
    help = (
        "Encrypt all upstream keys, seeds of authenticators, secrets of webhooks and kept answers of the management "
        "API under the newest of FIELD_KEYS; the older ones can go afterwards."
    )

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            with transaction.atomic():
                upstreams, seeds = upstream_keys.rotate_all(), admins.rotate_seeds()
                webhooks, answers = endpoints.rotate_field_keys(), repeats.rotate_all()
        except secrets.Undecryptable as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        return Answer(
            data={"rotated": upstreams + seeds + webhooks + answers},
            text=(
                f"{upstreams} upstream keys, {seeds} authenticators, {webhooks} webhooks and {answers} kept answers "
                "are encrypted under the newest key."
            ),
        )
