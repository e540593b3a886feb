"""Makes a tier or changes its limits; running servers follow within five seconds."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from proxy import operators
from proxy.management.operator_command import Answer, OperatorCommand, required, sentence, whole


class Command(OperatorCommand):
    help = "Make a tier or change its limits. A running server sees the change within five seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name")
        parser.add_argument("--rpm", required=True, help="Requests per minute and key.")
        parser.add_argument("--tpm", required=True, help="Tokens per minute and key.")
        parser.add_argument(
            "--concurrency", help="Requests at once per key; left out: as it is, none for a new tier."
        )

        parser.add_argument(
            "--rpd", help="Requests per key and day, Tehran time; left out: as it is, none for a new tier."
        )
        parser.add_argument("--tpd", help="Tokens, likewise.")

    def answer(self, options: dict[str, Any]) -> Answer:
        try:
            tier, is_new = operators.set_tier(
                name=options["name"],
                rpm=required(options, "rpm"),
                tpm=required(options, "tpm"),
                concurrency=whole(options, "concurrency"),
                rpd=whole(options, "rpd"),
                tpd=whole(options, "tpd"),
            )
        except ValidationError as error:
            raise CommandError(sentence(error)) from None
        limits = {name: getattr(tier, name) for name in ("rpm", "tpm", "concurrency", "rpd", "tpd")}
        at_once = f", {tier.concurrency:,} at once" if tier.concurrency else ""
        at_once += f", {tier.rpd:,} requests per day" if tier.rpd else ""
        at_once += f", {tier.tpd:,} tokens per day" if tier.tpd else ""
        text = (
            f"Tier {tier.name} {'made' if is_new else 'changed'}: {tier.rpm:,} requests and "
            f"{tier.tpm:,} tokens per minute{at_once}"
        )
        return Answer(data={"tier": tier.name, **limits}, text=text)
