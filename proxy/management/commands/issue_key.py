"""Gives a mobile number a working API key, and an account where there is none."""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from keys.lifecycle import MAX_ACTIVE_KEYS, NoNewKeys, TooManyKeys
from proxy import operators
from proxy.management.operator_command import Answer, OperatorCommand, mobile, sentence, whole
from wallet.money import toman_text


class Command(OperatorCommand):
    help = "Make an API key for a mobile number; its account and wallet are made where there are none."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--mobile", required=True, help="Such as 09121234567.")
        parser.add_argument("--name", default="issued by the operator", help="Name of the key.")
        parser.add_argument("--credit-toman", help="Credit to give, whole Toman.")
        parser.add_argument("--tier", help="Name of the tier to move the account to.")

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            issued = operators.issue_key(
                mobile=mobile(options),
                name=options["name"],
                credit_toman=whole(options, "credit_toman", minimum=0) or 0,
                tier=options["tier"],
            )
        except operators.UnknownTier as error:
            raise CommandError(f"There is no tier named {error}; make it with set_tier.") from None
        except TooManyKeys:
            raise CommandError(f"This account has {MAX_ACTIVE_KEYS} keys; revoke one first.") from None
        except NoNewKeys as refused:
            raise CommandError(
                f"This account's number was changed a short time ago; no new key before {refused.until.isoformat()}."
            ) from None
        except ValidationError as error:
            raise CommandError(f"--name: {sentence(error)}") from None
        except ValueError as error:
            raise CommandError(str(error)) from None
        text = (
            f"Key:     {issued.key}  (shown once)\n"
            f"Account: {issued.mobile}, tier {issued.tier}\n"
            f"Balance: {toman_text(issued.available_micro)} Toman available"
        )
        return Answer(data=asdict(issued), text=text)
