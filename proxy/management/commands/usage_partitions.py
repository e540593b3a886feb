"""Shows the partitions of the usage records, and does by hand what the worker does, and what it never does."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from proxy.management.operator_command import Answer, OperatorCommand
from proxy.usage import partitions, retention

ACTIONS = ("show", "make", "move", "detach", "export", "drop")
OF_A_TABLE = ("export", "drop")


class Command(OperatorCommand):
    help = "Show, make and detach the monthly partitions of usage records; export and drop what was detached."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "action", nargs="?", default="show", choices=ACTIONS,
            help="make: make missing months; move: move records out of the default partition into their months; "
            "detach: follow USAGE_RETENTION_MONTHS now; export, drop: what was detached.",
        )  # fmt: skip
        parser.add_argument("table", nargs="?", help="Which detached table to export or to drop.")
        parser.add_argument(
            "--into", metavar="FILE", help="The CSV file to export it into, which must be new."
        )
        parser.add_argument(
            "--without-export", action="store_true", help="Drop the table for good, unexported."
        )

    def answer(self, options: dict[str, Any]) -> Answer:
        action: str = options["action"]
        if (action in OF_A_TABLE) != (options["table"] is not None):
            raise CommandError("export and drop take the name of a detached table, and nothing else does.")
        try:
            done, text = getattr(self, f"_{action}")(options)
        except partitions.Busy as error:
            raise CommandError(f"Nothing was changed: {error}.") from None
        except retention.NotDetached as error:
            raise CommandError(f"There is no detached table {error}.") from None
        found, held = partitions.attached(), partitions.in_default()
        detached = retention.detached()
        lines = [
            *([text] if text else []),
            *(
                f"{each.name}: {f'from {each.since:%Y-%m-%d}' if each.since else 'all that came before,'}"
                f" up to {each.until:%Y-%m-%d}"
                for each in found
            ),
            f"{partitions.DEFAULT}: {held} records"
            + (", which belong into months: move them" if held else ""),
            *(
                f"{each.name}: detached, about {each.records} records, {each.bytes >> 20} MiB"
                for each in detached
            ),
        ]
        data = {
            "partitions": [
                {
                    "name": each.name,
                    "since": each.since.isoformat() if each.since else None,
                    "until": each.until.isoformat(),
                }
                for each in found
            ],
            "in_default": held,
            "detached": [
                {"name": each.name, "records": each.records, "bytes": each.bytes} for each in detached
            ],
        }
        return Answer(data=data | done, text="\n".join(lines))

    def _show(self, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
        return {}, ""

    def _make(self, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
        made = partitions.make_ahead()
        return {"made": made}, f"Made: {', '.join(made) or 'none was missing'}."

    def _move(self, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
        moved = partitions.move_out_of_default()
        return {"moved": moved}, f"Moved {sum(moved.values())} records into {len(moved)} months."

    def _detach(self, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
        gone = retention.detach_past()
        return {"taken_off": gone}, f"Detached: {', '.join(gone) or 'none is past its time'}."

    def _export(self, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
        if not options["into"]:
            raise CommandError("--into is missing: the file to export into.")
        file = Path(options["into"])
        try:
            written = retention.export(name=options["table"], file=file)
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
        return {"exported": {"file": str(file), "records": written}}, f"{written} records are in {file}."

    def _drop(self, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
        name = options["table"]
        if bool(options["into"]) == options["without_export"]:
            raise CommandError("Give --into FILE, to export it first, or --without-export.")
        if options["without_export"]:
            retention.drop(name=name)
            return {"dropped": name}, f"{name} is gone."
        done, text = self._export(options)
        try:
            retention.drop(name=name, exported=done["exported"]["records"])
        except retention.NotWhole:
            raise CommandError(f"{name} has changed meanwhile, and is still there.") from None
        return done | {"dropped": name}, f"{text} {name} is gone."
