"""Explains one request from its log line to the journal."""

import json
import uuid
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from proxy import explaining
from proxy.catalogue.prices.price_quote import PER_PIECE, PLAIN
from proxy.catalogue.prices.pricing import Item
from proxy.explaining import Explanation, State
from proxy.management.operator_command import Answer, OperatorCommand, mobile
from proxy.usage import charged
from proxy.usage.models import UsageRecord
from wallet.ledger.models import Hold, JournalEntry
from wallet.money import MICRO_PER_RIAL, toman_figure

STATES = {
    State.HELD: "It is running: its money is held and nothing has been charged.",
    State.OVERDUE: "Its process ended without settling it. The sweeper will give the held money back.",
    State.CAPTURED: "It was charged once, and the rest of its hold was given back.",
    State.VOIDED: "It cost nothing: the whole hold was given back.",
    State.EXPIRED: "No hold, usage record or journal entry is left: its hold expired, and nothing was charged.",
    State.ARCHIVED: "It was charged; its usage record is older than those that are kept.",
    State.BROKEN: "The journal has it, yet there is no usage record of it. Run check_ledger.",
}


class Command(OperatorCommand):
    help = "Explain one request, by the id in its x-request-id header: log line, hold, usage, price, journal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "id", help="With or without dashes; with --mobile, what X-Client-Request-Id said."
        )
        parser.add_argument(
            "--mobile", help="The account whose client gave the id: its newest request with it."
        )

    def answer(self, options: dict[str, Any]) -> Answer:
        request_id = _wanted(options)
        try:
            found = explaining.explain(request_id=request_id)
        except explaining.UnknownRequest:
            raise CommandError(
                f"Nothing is known of request {request_id.hex}. It was never here, was refused before any money was "
                "held for it, or its log lines are gone."
            ) from None
        return Answer(data=_data(found), text="\n".join(_text(found)))


def _wanted(options: dict[str, Any]) -> uuid.UUID:
    """Raises CommandError."""
    given = options["id"].strip()
    if options["mobile"] is not None:
        number = mobile(options)
        try:
            return explaining.newest_named(mobile=number, client_request_id=given)
        except explaining.UnknownRequest:
            raise CommandError(f"The account of {number} has no settled request {given!r}.") from None
    try:
        return uuid.UUID(given)
    except ValueError:
        raise CommandError(
            f"{given!r} is not a request id: 32 hexadecimal digits, with or without dashes. An id that the client "
            "gave is found with --mobile and the account's number."
        ) from None


def _text(found: Explanation) -> list[str]:
    lines = [f"Request:   {found.request_id.hex} ({found.state})", f"           {STATES[found.state]}"]
    if found.user is not None:
        lines.append(f"Account:   {found.user.mobile}")
    if found.hold is not None:
        lines.append(_hold(found.hold))
    if found.record is not None:
        lines += _record(found, found.record)
    lines += [_entry(entry) for entry in found.entries]
    if found.record is not None and not found.entries:
        lines.append("Journal:   no entries; nothing was charged")
    lines += [f"Log line:  {json.dumps(line, ensure_ascii=False)}" for line in found.log_lines]
    if not found.log_lines:
        lines.append("Log line:  none in the logs of this machine")
    return lines


def _hold(hold: Hold) -> str:
    counted = " and ".join(f"budget {each}" for each in (hold.budget_id, hold.shared_budget_id) if each)
    budget = f", counted towards {counted}" if counted else ""
    return (
        f"Hold:      {_toman(hold.amount_micro)} held since {_time(hold.created_at)}, "
        f"expires {_time(hold.expires_at)}{budget}"
    )


def _record(found: Explanation, record: UsageRecord) -> list[str]:
    key = f'"{found.key.name}" (…{found.key.last_four})' if found.key else "unknown"
    route = f'"{found.upstream.name}"' if found.upstream else "unknown"
    sent = "streamed" if record.stream else "whole"
    first = "" if record.first_byte_ms is None else f"first byte after {record.first_byte_ms:,} ms, "
    lines = [
        f"Key:       {key}, number {record.key_id}",
        *([f"Client id: {record.client_request_id}"] if record.client_request_id else []),
        f"Route:     endpoint {record.endpoint}, model {record.model} at upstream {route}, number {record.upstream_id}",
        f"Answer:    {record.get_outcome_display()}, HTTP status {record.status}, {sent}",
        f"Timings:   {first}{record.total_ms:,} ms in all, settled {_time(record.created_at)}",
        f"Tokens:    {record.prompt_tokens:,} prompt tokens, {record.cached_tokens:,} of them cached, and "
        f"{record.completion_tokens:,} completion tokens; billed by: {record.get_billed_by_display()}",
        f"Price:     per million tokens {record.input_rial_per_million:,} Rial (input), "
        f"{record.cached_input_rial_per_million:,} Rial (cached input), "
        f"{record.output_rial_per_million:,} Rial (output)"
        + (f"; in force since {_time(found.priced_since)}" if found.priced_since else ""),
        f"Cost:      {_toman(record.cost_micro)}" + (f" = {_sum(record)}" if record.cost_micro else ""),
    ]
    if record.uncovered_micro:
        lines.append(
            f"Uncovered: {_toman(record.uncovered_micro)} beyond the hold, at the operator's expense"
        )
    if record.upstream_cost_nanodollars is not None:
        lines.append(
            f"Upstream:  it costs the operator {record.upstream_cost_nanodollars / 10**9:.9f} US dollars"
        )
    if record.upstream_cost_micro is not None:
        lines.append(f"Upstream:  it costs the operator {_toman(record.upstream_cost_micro)}")
    return lines


def _sum(record: UsageRecord) -> str:
    """The cost as it comes about: tokens times Rial per million are micro-Rial."""
    terms = " + ".join(_term(item) for item in charged.items(record) if item.quantity)
    less = f" − {record.uncovered_micro:,}" if record.uncovered_micro else ""
    return f"{terms}{less} = {record.cost_micro:,} micro-Rial"


def _term(item: Item) -> str:
    """The three usual items stand in the order of their prices above; any other is named."""
    rial = item.rial * (MICRO_PER_RIAL if item.component in PER_PIECE else 1)
    name = "" if item.component in PLAIN else f" ({item.component})"
    return f"{item.quantity:,} × {rial:,}{name}"


def _entry(entry: JournalEntry) -> str:
    sign = "+" if entry.amount_micro > 0 else "−"
    after = "" if entry.balance_micro is None else f", balance after it {_toman(entry.balance_micro)}"
    return (
        f"Journal:   {entry.get_account_display()} {sign}{_toman(abs(entry.amount_micro))}{after} "
        f"({entry.get_kind_display()}, {_time(entry.created_at)})"
    )


def _toman(micro: int) -> str:
    return f"{toman_figure(micro)} Toman"


def _time(moment: datetime) -> str:
    return timezone.localtime(moment).isoformat(" ", "milliseconds")


def _data(found: Explanation) -> dict[str, Any]:
    hold, record = found.hold, found.record
    return {
        "request": found.request_id.hex,
        "state": found.state,
        "mobile": found.user.mobile if found.user else None,
        "key": {"id": found.key.pk, "name": found.key.name, "last_four": found.key.last_four}
        if found.key
        else None,
        "upstream": found.upstream.name if found.upstream else None,
        "hold": {
            "amount_micro": hold.amount_micro,
            "budget_id": hold.budget_id,
            "shared_budget_id": hold.shared_budget_id,
            "created_at": hold.created_at.isoformat(),
            "expires_at": hold.expires_at.isoformat(),
        }
        if hold
        else None,
        "record": {
            field.attname: _plain(getattr(record, field.attname))
            for field in UsageRecord._meta.concrete_fields
        }
        if record
        else None,
        "priced_since": found.priced_since.isoformat() if found.priced_since else None,
        "journal": [
            {
                "account": entry.account,
                "kind": entry.kind,
                "amount_micro": entry.amount_micro,
                "balance_micro": entry.balance_micro,
                "created_at": entry.created_at.isoformat(),
            }
            for entry in found.entries
        ],
        "log": found.log_lines,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return value.hex
    return value.isoformat() if isinstance(value, datetime) else value
