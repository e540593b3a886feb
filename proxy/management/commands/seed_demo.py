"""Makes an account with weeks of use in the sandbox."""

import logging
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from proxy.management.operator_command import Answer, OperatorCommand, mobile, required
from proxy.sandbox import demo, history

DAYS_MAX = 365


class Command(OperatorCommand):
    help = "Make an account with weeks of usage, top-ups, keys and invoices, to look at. Only in the sandbox."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--mobile", default=history.MOBILE, help="Of the account to make.")
        parser.add_argument(
            "--days", default=history.DAYS, help=f"How far back its use goes; at most {DAYS_MAX}."
        )
        parser.add_argument("--seed", default=1405, help="The same number makes the same account.")

    def answer(self, options: dict[str, Any]) -> Answer:
        number, days = mobile(options), required(options, "days")
        if days > DAYS_MAX:
            raise CommandError(f"--days must be at most {DAYS_MAX}, not {days}.")
        logging.disable(logging.INFO)  # of a past that never was
        try:
            made = history.seed(mobile=number, number=required(options, "seed", minimum=0), days=days)
        except demo.NotSandbox:
            raise CommandError("A demo account belongs in the sandbox: HAMIRAN_MODE=sandbox.") from None
        except history.AlreadySeeded:
            return Answer(
                data={"mobile": number, "made": False},
                text=f"The account {number} exists already and stays as it is; --mobile makes another one.",
            )
        except history.NoPlayGateway:
            raise CommandError(
                "Its top-ups are paid at the sandbox's own gateway, and new payments go elsewhere "
                "(PAYMENT_GATEWAY, or the choice in the admin)."
            ) from None
        except history.NothingOnSale:
            raise CommandError("No model is on sale; put one there with add_model.") from None
        finally:
            logging.disable(logging.NOTSET)
        text = (
            f"Account:  {made.mobile}; sign in with this number, the sandbox shows the code on the page\n"
            f"Used:     {made.requests:,} requests since {made.since:%Y-%m-%d}, "
            f"{made.topups} top-ups, {made.keys} keys"
        )
        return Answer(data={**asdict(made), "made": True, "since": made.since.isoformat()}, text=text)
