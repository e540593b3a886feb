"""Writes a backup of the database, beside the running service or without it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from config import backups, data_folder, embedded, wal_archive
from proxy.management.operator_command import Answer, OperatorCommand


class Command(OperatorCommand):
    help = "Write a dated backup of the database that `restore` brings back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--into", metavar="FOLDER", help="Where to; HAMIRAN_VAR/backups if left out.")
        parser.add_argument(
            "--base",
            action="store_true",
            help="A whole copy in WAL_ARCHIVE, from which any later moment is restored.",
        )
        parser.add_argument(
            "--keep",
            type=int,
            metavar="N",
            help="With --base: remove older ones than the last N, and their log.",
        )

    def answer(self, options: dict[str, Any]) -> Answer:
        if options["keep"] is not None and (options["keep"] < 1 or not options["base"]):
            raise CommandError("--keep takes a number from 1 on, and goes with --base.")
        if options["base"]:
            return self.answer_base(options["keep"])
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

    def answer_base(self, keep: int | None) -> Answer:
        try:
            base = wal_archive.copy_base(keep=keep)
        except (backups.BackupError, embedded.EngineError, OSError) as error:
            raise CommandError(str(error)) from None
        size = sum(file.stat().st_size for file in base.rglob("*") if file.is_file())
        return Answer(
            data={"file": str(base), "bytes": size},
            text=f"{base} ({size:,} bytes) was written and verified. Any moment from now on can be restored.",
        )
