"""Puts a model on sale at an upstream for a price, or changes where and for how much."""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from proxy.catalogue import offers
from proxy.catalogue.endpoints import CHAT, ENDPOINTS, PROTOCOLS
from proxy.catalogue.models import Upstream
from proxy.catalogue.prices import price_entry
from proxy.catalogue.prices.price_quote import COMPONENTS, PER_PIECE, PriceQuote
from proxy.catalogue.prices.price_rules import JUMP_FACTOR, NotConfirmed
from proxy.catalogue.prices.price_wording import place_text, price_text
from proxy.catalogue.request_fields import AUDIO, FILE, IMAGE, TOOLS
from proxy.catalogue.secrets import Undecryptable
from proxy.management.operator_command import Answer, OperatorCommand, sentence, whole
from wallet.money import RIAL_PER_TOMAN, micro_from_rial, toman_text

INPUT_KINDS = (IMAGE, AUDIO, FILE, TOOLS)
Choice = TypeVar("Choice", Upstream.Kind, Upstream.LimitField, Upstream.OnDisconnect)


class Command(OperatorCommand):
    help = (
        "Put a model on sale, or change it. A running server sees the change within five seconds. No price needs a "
        "second admin here."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("model_id", help="What customers name in a request.")
        parser.add_argument("--upstream-url", required=True, help="Up to and with /v1.")
        parser.add_argument("--upstream-key", required=True, help="Kept encrypted.")
        parser.add_argument("--upstream-model", help="The model's name there, where it is another one.")
        parser.add_argument("--input-toman-per-million", help="Or --price input=TOMAN.")
        parser.add_argument("--output-toman-per-million", help="Or --price output=TOMAN.")
        parser.add_argument(
            "--price",
            action="append",
            metavar="COMPONENT=TOMAN[@ABOVE_TOKENS]",
            help=f"A price per million ({', '.join(name for name in COMPONENTS if name not in PER_PIECE)}) or for one "
            f"({', '.join(name for name in COMPONENTS if name in PER_PIECE)}; image:SIZE:QUALITY), for prompts above "
            "so many tokens; repeatable. All of them together, with the two above, are the new list.",
        )
        parser.add_argument(
            "--max-output-tokens", help=f"Longest answer; {offers.MAX_OUTPUT_TOKENS:,} for a new model."
        )
        parser.add_argument("--context-tokens", help=f"{offers.CONTEXT_TOKENS:,} for a new model.")
        parser.add_argument(
            "--takes",
            help=f"What it takes beside text, with commas: {', '.join(INPUT_KINDS)}; none; a new one: all.",
        )
        parser.add_argument(
            "--kind",
            help=f"Whose ways the upstream has: {', '.join(Upstream.Kind.values)} (a new one's: openai).",
        )
        parser.add_argument(
            "--limit-field",
            help=f"The cap on an answer that it obeys: {', '.join(Upstream.LimitField.values)}.",
        )
        parser.add_argument(
            "--endpoints",
            help=f"Where customers can call it, with commas: {', '.join(ENDPOINTS)}. A new one: wherever its "
            "upstream's protocols can serve it.",
        )
        parser.add_argument(
            "--protocols",
            help=f"What the upstream speaks, with commas: {', '.join(PROTOCOLS)}. A new route: {CHAT}.",
        )
        parser.add_argument(
            "--on-disconnect",
            help="What the upstream does when a client leaves: cancel (a new one's) or drain.",
        )

        parser.add_argument(
            "--confirm-price-jump",
            action="store_true",
            help=f"Take a price that is {JUMP_FACTOR} times the last one or more, or as much less.",
        )
        parser.add_argument("--free", action="store_true", help="Take a price of 0.")

    def answer(self, options: dict[str, Any]) -> Answer:
        kind = _chosen(options, "kind", Upstream.Kind)
        limit_field = _chosen(options, "limit_field", Upstream.LimitField)
        on_disconnect = _chosen(options, "on_disconnect", Upstream.OnDisconnect)
        try:
            price = _price_list(options)
            offer = offers.add_model(
                model_id=options["model_id"],
                upstream_url=options["upstream_url"],
                upstream_key=options["upstream_key"],
                upstream_model=options["upstream_model"],
                price=price,
                is_whole_list=bool(options["price"]),
                context_tokens=whole(options, "context_tokens"),
                max_output_tokens=whole(options, "max_output_tokens"),
                takes=_takes(options["takes"]),
                kind=kind,
                limit_field=limit_field,
                on_disconnect=on_disconnect,
                endpoints=_names(options, "endpoints", tuple(ENDPOINTS)),
                protocols=_names(options, "protocols", PROTOCOLS),
                jump_meant=options["confirm_price_jump"],
                free_meant=options["free"],
            )
        except ValidationError as error:
            raise CommandError(sentence(error)) from None
        except NotConfirmed as error:
            raise CommandError(_question(error)) from None
        except offers.ListIsLonger:
            raise CommandError(
                f"{options['model_id']} has more prices than input and output. Nothing was changed; give all prices "
                "that its new list shall have with --price."
            ) from None
        except (ValueError, Undecryptable) as error:
            raise CommandError(str(error)) from None
        text = (
            f"{offer.model} is on sale: served by {offer.upstream} ({offer.upstream_url}) as "
            f"{offer.upstream_model},\nup to {offer.max_output_tokens:,} of {offer.context_tokens:,} tokens, "
            f"{_toman(offer.input_rial_per_million)} Toman per million tokens in, "
            f"{_toman(offer.output_rial_per_million)} out"
        )
        text += f",\nserved at {', '.join(offer.endpoints)}; the upstream speaks {', '.join(offer.protocols)}"
        if not price.is_plain:
            text += f",\nthe whole list: {price_text(price)}"
        return Answer(data=asdict(offer), text=text)


def _chosen(options: dict[str, Any], name: str, choices: type[Choice]) -> Choice | None:
    text = options[name]
    if text is not None and text not in choices.values:
        wanted = ", ".join(choices.values[:-1]) + f" or {choices.values[-1]}"
        raise CommandError(f"--{name.replace('_', '-')} must be {wanted}, not {text!r}.")
    return None if text is None else choices(text)


def _names(options: dict[str, Any], name: str, known: tuple[str, ...]) -> list[str] | None:
    if (text := options[name]) is None:
        return None
    named = set(text.replace(" ", "").split(","))
    if unknown := sorted(named.difference(known)):
        raise CommandError(f"--{name} must be some of {', '.join(known)}, not {unknown[0]!r}.")
    return [each for each in known if each in named]


def _takes(text: str | None) -> frozenset[str] | None:
    if text is None or text == "none":
        return None if text is None else frozenset()
    kinds = frozenset(text.replace(" ", "").split(","))
    if unknown := sorted(kinds - set(INPUT_KINDS)):
        raise CommandError(f"--takes must be some of {', '.join(INPUT_KINDS)}, or none, not {unknown[0]!r}.")
    return kinds


def _question(error: NotConfirmed) -> str:
    said = []
    if error.jumps:
        changes = "; ".join(
            f"{place_text(jump.place)} was {_both_units(jump.before)} and would be {_both_units(jump.after)}"
            for jump in error.jumps
        )
        said.append(
            f"That is {JUMP_FACTOR} times off the last price or more: {changes}. "
            "Nothing was changed; add --confirm-price-jump if it is meant."
        )
    if error.free:
        names = " and ".join(place_text(place) for place in error.free)
        said.append(f"Nothing would be charged for {names}. Nothing was changed; add --free if it is meant.")
    return " ".join(said)


def _price_list(options: dict[str, Any]) -> PriceQuote:
    flags = {}
    for component in ("input", "output"):
        toman = whole(options, f"{component}_toman_per_million", minimum=0)
        if toman is not None:
            flags[component] = toman * RIAL_PER_TOMAN
        elif not options["price"]:
            raise CommandError(f"--{component}-toman-per-million is missing.")
    return price_entry.price_list(options["price"] or [], flags=flags)


def _both_units(rial: int) -> str:
    return f"{rial:,} Rial ({_toman(rial)} Toman)"


def _toman(rial: int) -> str:
    return toman_text(micro_from_rial(rial))
