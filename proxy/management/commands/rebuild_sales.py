"""Counts sales anew from the usage records, for when these were put right by hand."""

from argparse import ArgumentParser
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import CommandError

from accounts.shared import days
from proxy.management.operator_command import Answer, OperatorCommand
from proxy.usage.sales import counting


class Command(OperatorCommand):
    help = "Count what the admin's front page shows anew from the usage records, day by day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--since", required=True, help="A day such as 1405/09/01 or 2026-11-22.")

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            day = days.read(options["since"])
        except ValueError:
            raise CommandError("since has to be a day such as 1405/09/01 or 2026-11-22.") from None
        since = datetime.combine(day, time.min, tzinfo=ZoneInfo(settings.TIME_ZONE))
        rebuilt = counting.rebuild(since=since)
        return Answer(data={"days": rebuilt}, text=f"{rebuilt:,} days were counted anew.")
