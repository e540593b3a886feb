"""Brings a backup back into a fresh data folder or database, and judges what came back."""

import contextlib
import io
import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.admin_models import Authenticator
from config import backups, data_folder, embedded, wal_archive
from keys.models import AdminKey, APIKey
from proxy.catalogue import secrets
from proxy.catalogue.models import Upstream
from proxy.management.operator_command import Answer, OperatorCommand


class Command(OperatorCommand):
    help = "Restore a backup while the service is stopped; exit status 1 where its ledger is not sound."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", metavar="FILE", help="What `backup` wrote, or the folder WAL_ARCHIVE.")
        parser.add_argument(
            "--until",
            type=_moment,
            metavar="TIME",
            help="With a WAL_ARCHIVE: as it was at that time (2026-11-30T14:05:00+03:30), not at the end.",
        )
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="Replace a database that holds accounts; what was there is written to a backup first.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.is_sound = True
        super().handle(*args, **options)
        if not self.is_sound:
            raise SystemExit(1)

    def answer(self, options: dict[str, Any]) -> Answer:
        source, until = Path(options["file"]), options["until"]
        if until is not None and not source.is_dir():
            raise CommandError("--until goes with the folder WAL_ARCHIVE; a dump is of one moment.")
        try:
            with (
                wal_archive.restored(source, until=until)
                if source.is_dir()
                else backups.restored(source, overwrite=options["overwrite"])
            ) as before:
                call_command("migrate", interactive=False, verbosity=0)
                ledger = _ledger()
                missing = _missing_secrets()
        except (backups.BackupError, data_folder.Unavailable, embedded.EngineError, OSError) as error:
            raise CommandError(str(error)) from None
        self.is_sound = bool(ledger["ok"])
        lines = [f"Restored from {options['file']}{'' if until is None else f', as it was at {until}'}."]
        if before is not None:
            lines.append(f"What was there before is in {before}.")
        lines += [f"Broken: {finding['invariant']}\n    {finding['detail']}" for finding in ledger["broken"]]
        lines += missing
        if source.is_dir():
            lines.append(
                "What happens from now on is another history: give the service an empty WAL_ARCHIVE."
            )
        lines += ["The ledger is sound. Start the service with `make run`."] if self.is_sound else []
        return Answer(
            data={
                "restored": options["file"],
                "before": None if before is None else str(before),
                "ok": self.is_sound,
                "broken": ledger["broken"],
                "missing": missing,
            },
            text="\n".join(lines),
        )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ArgumentTypeError("say the time zone, too: 2026-11-30T14:05:00+03:30, or …Z")
    return moment


def _ledger() -> dict[str, Any]:
    out = io.StringIO()
    with contextlib.suppress(SystemExit):  # its answer says what is broken
        call_command("check_ledger", json=True, stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def _missing_secrets() -> list[str]:
    """What the database cannot say: whether the secrets that came with it are those of this installation."""
    missing = []
    for upstream in Upstream.objects.order_by("pk"):
        try:
            secrets.decrypt(upstream.api_key_encrypted)
        except secrets.Undecryptable:
            missing.append(
                f"FIELD_KEYS does not hold the key of upstream {upstream.name}: it cannot be called."
            )
    for authenticator in Authenticator.objects.select_related("user").order_by("pk"):
        try:
            authenticator.seed()
        except secrets.Undecryptable:
            missing.append(
                f"FIELD_KEYS does not hold the authenticator of {authenticator.user.mobile}: "
                "run create_admin for that number."
            )
    versions = {
        version
        for kind in (APIKey, AdminKey)
        for version in kind.objects.exclude(pepper_version__in=settings.PEPPERS).values_list(
            "pepper_version", flat=True
        )
    }
    missing += [
        f"PEPPERS lacks version {version}: keys made with it do not work." for version in sorted(versions)
    ]
    return missing
