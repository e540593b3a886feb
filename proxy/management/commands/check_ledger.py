"""Verifies every rule of the money, in one snapshot, beside a running server."""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from proxy.management.operator_command import Answer, OperatorCommand
from proxy.usage import integrity as usage_integrity
from wallet import integrity


class Command(OperatorCommand):
    help = "Check every rule of the ledger; exit status 1 and a list where one is broken."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--all",
            action="store_true",
            help="Compute the cost of every usage record anew from its price list, and not of a sample alone.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.is_sound = True
        super().handle(*args, **options)
        if not self.is_sound:
            raise SystemExit(1)

    def answer(self, options: dict[str, Any]) -> Answer:
        checks = [*integrity.CHECKS, *usage_integrity.CHECKS]
        if options["all"]:
            checks.append(usage_integrity.EVERY_COST)
        with integrity.snapshot():
            broken = integrity.run(checks)
            warnings = integrity.run(integrity.WARNINGS)
        self.is_sound = not broken
        lines = [f"Broken: {finding.invariant}\n    {finding.detail}" for finding in broken]
        lines += [f"Warning: {finding.invariant}\n    {finding.detail}" for finding in warnings]
        if not broken:
            lines.append(f"The ledger is sound: {len(checks)} rules hold.")
        return Answer(
            data={
                "ok": not broken,
                "broken": [asdict(finding) for finding in broken],
                "warnings": [asdict(finding) for finding in warnings],
            },
            text="\n".join(lines),
        )
