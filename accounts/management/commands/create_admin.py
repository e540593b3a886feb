"""`manage.py create_admin`: makes a person an admin, with a password and an authenticator app."""

import contextlib
import getpass
import io
import json
import secrets
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from qrcode.main import QRCode

from accounts import admins, approvals, phone

STDIN = "-"


class Command(BaseCommand):
    help = (
        "Makes an admin of a mobile number (or gives one a new password and authenticator). Prints the address "
        "of the authenticator as text and as a QR code; it cannot be shown again, only replaced."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--mobile", required=True)
        parser.add_argument(
            "--password-file",
            metavar="FILE",
            help="read the password from there (-: standard input); else it is asked for, or made without a terminal",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead")

    def handle(self, *, mobile: str, password_file: str | None, json: bool, **options: Any) -> None:
        password, is_generated = self._password(password_file)
        try:
            # The sandbox prints its SMS, which is no part of the answer.
            with contextlib.redirect_stdout(sys.stderr):
                made = admins.make(mobile=phone.normalise(mobile), password=password)
        except phone.InvalidMobile:
            raise CommandError(f"{mobile!r} is not an Iranian mobile number.") from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        shown = {"mobile": made.mobile, "otpauth_url": made.otpauth_url}
        if is_generated:
            shown["password"] = password
        self._print_json(shown) if json else self._print_text(shown)

    def _password(self, password_file: str | None) -> tuple[str, bool]:
        """The password and whether it was made here."""
        if password_file == STDIN:
            return sys.stdin.readline().rstrip("\r\n"), False
        if password_file:
            try:
                return Path(password_file).read_text().strip(), False
            except OSError as error:
                raise CommandError(f"The password file cannot be read: {error}") from None
        if not sys.stdin.isatty():
            return secrets.token_urlsafe(18), True
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise CommandError("The two passwords differ.")
        return password, False

    def _print_json(self, shown: dict[str, str]) -> None:
        self.stdout.write(json.dumps(shown))

    def _print_text(self, shown: dict[str, str]) -> None:
        self.stdout.write(f"{phone.local(shown['mobile'])} is an admin now.")
        if "password" in shown:
            self.stdout.write(f"Password (shown only now): {shown['password']}")
        self.stdout.write(f"Scan this with an authenticator app, or paste {shown['otpauth_url']}")
        self.stdout.write(
            f"What other admins ask for can be approved with this account in {approvals.SETTLING_HOURS} hours; "
            "all else at once."
        )
        code: Any = QRCode(border=2)
        code.add_data(shown["otpauth_url"])
        drawn = io.StringIO()  # it comes character by character, and self.stdout ends a line after each
        code.print_ascii(out=drawn, invert=True)
        self.stdout.write(drawn.getvalue())
