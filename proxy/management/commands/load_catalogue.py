"""Loads the starter catalogue; running it again changes nothing but the upstream that the settings name."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from accounts.shared.outbound import UnsafeURL
from proxy.catalogue import starter
from proxy.management.operator_command import Answer, OperatorCommand


class Command(OperatorCommand):
    help = "Load the starter model, price and upstream. What admins changed since stays as it is."

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            loaded = starter.load()
        except UnsafeURL as error:
            raise CommandError(f"UPSTREAM_BASE_URL: {error}") from None
        served = (
            f"served by the upstream “{loaded.upstream}”" if loaded.upstream else "to be routed in the admin"
        )
        return Answer(data=asdict(loaded), text=f"{loaded.model}: {served}")
