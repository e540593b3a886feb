"""Shows the sandbox's demo key; the same one after every restart."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from proxy.management.operator_command import Answer, OperatorCommand
from proxy.sandbox import demo


class Command(OperatorCommand):
    help = "Show the demo account's key, made where there is none. Only in the sandbox."

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            shown = demo.demo_key()
        except demo.NotSandbox:
            raise CommandError("A demo key exists only with HAMIRAN_MODE=sandbox; use issue_key.") from None
        return Answer(data=asdict(shown), text=f"{shown.key}  (account {shown.mobile})")
