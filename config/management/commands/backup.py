"""Writes a backup of the database, beside the running service or without it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from config import backups, data_folder, embedded
from proxy.management.operator_command import Answer, OperatorCommand


class Command(OperatorCommand):
    help = "Write a dated backup of the database that `restore` brings back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--into", metavar="FOLDER", help="Where to; HAMIRAN_VAR/backups if left out.")

    def answer(self, options: dict[str, Any]) -> Answer:
        folder = Path(options["into"] or settings.VAR_DIR / "backups").resolve()
        try:
            file = backups.make(folder)
        except (backups.BackupError, data_folder.Unavailable, embedded.EngineError, OSError) as error:
            raise CommandError(str(error)) from None
        size = file.stat().st_size
        return Answer(
            data={"file": str(file), "bytes": size},
            text=f"{file} ({size:,} bytes) was written and read back. Keep it elsewhere, with the secrets.",
        )
