"""What every operator command shares: `--json`, clear sentences instead of tracebacks, a database that may be away."""

import json
from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, InterfaceError, OperationalError, ProgrammingError
from django.utils import translation

from accounts.phone import InvalidMobile, normalise
from accounts.shared.digits import ascii_digits

NOT_MIGRATED = frozenset({"42P01", "42703"})  # no such table, no such column


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found or did: a JSON object for programs, lines for people."""

    data: dict[str, Any]
    text: str


class OperatorCommand(BaseCommand):
    """A command that answers with one `Answer`; all it may raise for bad input is CommandError."""

    requires_system_checks = ()  # they say nothing about one account, and take longer than the command

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Answer with a JSON object and nothing else.")

    def handle(self, *args: Any, **options: Any) -> None:
        for name, given in options.items():
            if isinstance(given, str) and given.encode(errors="replace").decode() != given:
                raise CommandError(f"{name.replace('_', '-')} is not valid UTF-8.")
        try:
            with translation.override("en"):  # the commands speak English, whatever the pages speak first
                answer = self.answer(options)
        except (OperationalError, InterfaceError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise CommandError(
                f"PostgreSQL does not answer: {reason}. Start the service with `make run`, or check DATABASE_URL."
            ) from None
        except ProgrammingError as error:
            if getattr(error.__cause__, "sqlstate", None) in NOT_MIGRATED:
                raise CommandError(
                    "The database is not up to date; run `manage.py migrate` or `make run` first."
                ) from None
            raise
        except IntegrityError as error:
            raise CommandError(
                f"Something else changed the same at this moment; try again. ({error})"
            ) from None
        self.stdout.write(json.dumps(answer.data, ensure_ascii=False) if options["json"] else answer.text)

    def answer(self, options: dict[str, Any]) -> Answer:
        """Parses, makes one domain call, answers. Raises CommandError."""
        raise NotImplementedError


def whole(options: dict[str, Any], name: str, *, minimum: int = 1) -> int | None:
    """The whole number given as `--name`, in any digits and grouped or not; None where it was left out.

    Read here and not by argparse, so that a wrong one is a sentence and not a usage screen.
    """
    given = options[name]
    if given is None:
        return None
    try:
        number = int(ascii_digits(str(given)).replace(",", ""))
    except ValueError:
        number = minimum - 1
    if number < minimum:
        raise CommandError(
            f"--{name.replace('_', '-')} must be a whole number of at least {minimum}, not {given!r}."
        )
    return number


def required(options: dict[str, Any], name: str, *, minimum: int = 1) -> int:
    number = whole(options, name, minimum=minimum)
    if number is None:
        raise CommandError(f"--{name.replace('_', '-')} is missing.")
    return number


def mobile(options: dict[str, Any]) -> str:
    """The `--mobile` in E.164."""
    try:
        return normalise(options["mobile"])
    except InvalidMobile:
        raise CommandError(
            f"{options['mobile']!r} is not an Iranian mobile number such as 09121234567."
        ) from None


def sentence(error: ValidationError) -> str:
    """A validation error as one line."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items())
