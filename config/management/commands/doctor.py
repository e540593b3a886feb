"""Examines an installation and says what to mend."""

from dataclasses import asdict
from typing import Any

from config import doctor
from config.doctor import Level
from proxy.management.operator_command import Answer, OperatorCommand

MARKS = {Level.OK: "ok     ", Level.WARNING: "warning", Level.PROBLEM: "PROBLEM"}


class Command(OperatorCommand):
    help = "Examine this installation and say what to mend; exit status 1 where there is a problem."

    def handle(self, *args: Any, **options: Any) -> None:
        self.is_well = True
        super().handle(*args, **options)
        if not self.is_well:
            raise SystemExit(1)

    def answer(self, options: dict[str, Any]) -> Answer:
        findings = doctor.examine()
        problems = [finding for finding in findings if finding.level is Level.PROBLEM]
        warnings = [finding for finding in findings if finding.level is Level.WARNING]
        self.is_well = not problems
        lines = []
        for finding in findings:
            lines.append(f"{MARKS[finding.level]}  {finding.part}: {finding.said}")
            if finding.advice:
                lines.append(f"         → {finding.advice}")
        lines += ["", f"{_number(problems, 'problem')}, {_number(warnings, 'warning')}."]
        return Answer(
            data={"ok": self.is_well, "findings": [asdict(finding) for finding in findings]},
            text="\n".join(lines),
        )


def _number(found: list[doctor.Finding], word: str) -> str:
    return f"{len(found) or 'no'} {word}{'' if len(found) == 1 else 's'}"
