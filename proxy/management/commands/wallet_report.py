"""Shows what an account has, what is held of it and what it used."""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from proxy import operators
from proxy.management.operator_command import Answer, OperatorCommand, mobile
from wallet.money import toman_text


class Command(OperatorCommand):
    help = "Show a wallet's balance, holds and journal entries beside the usage that was charged to it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--mobile", required=True, help="Such as 09121234567.")

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            report = operators.account_report(mobile=mobile(options))
        except operators.UnknownAccount as error:
            raise CommandError(f"No account has the number {error}.") from None
        wallet = report.wallet
        text = (
            f"Posted:    {toman_text(wallet.posted_micro)} Toman in {wallet.journal_entries:,} journal entries\n"
            f"Held:      {toman_text(wallet.held_micro)} Toman in {wallet.open_holds:,} open holds\n"
            f"Available: {toman_text(wallet.available_micro)} Toman\n"
            f"Used:      {toman_text(report.usage_cost_micro)} Toman in {report.usage_records:,} requests"
        )
        usage = {"usage_records": report.usage_records, "usage_cost_micro": report.usage_cost_micro}
        return Answer(data=asdict(wallet) | usage, text=text)
