"""Encrypts every upstream key anew, under the first of FIELD_KEYS."""

from typing import Any

from django.core.management.base import CommandError

from proxy import secrets, upstream_keys
from proxy.management.operator_command import Answer, OperatorCommand


class Command(OperatorCommand):
    help = "Encrypt all upstream keys under the newest of FIELD_KEYS; the older ones can go afterwards."

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            rotated = upstream_keys.rotate_all()
        except secrets.Undecryptable as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        return Answer(
            data={"rotated": rotated}, text=f"{rotated} upstream keys are encrypted under the newest key."
        )
