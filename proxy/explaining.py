"""One request from its log line to the journal: all that this installation still knows of it."""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from keys.models import APIKey
from proxy.catalogue.models import Upstream
from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.served import quote
from proxy.usage import lookup, partitions
from proxy.usage.models import UsageRecord
from wallet.ledger.models import Hold, JournalEntry


class UnknownRequest(Exception):
    """Neither the database nor the logs know such a request."""


class State(StrEnum):
    HELD = "held"  # it is running
    OVERDUE = "overdue"  # its hold is past its expiry, and the sweeper has not been there yet
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"  # only a log line is left of it
    ARCHIVED = "archived"  # it was charged, and its usage record is older than those that are kept
    BROKEN = "broken"  # the journal has it and no usage record does


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a request. `priced_since`: when the price list that its record repeats came into force."""

    request_id: uuid.UUID
    state: State
    hold: Hold | None
    record: UsageRecord | None
    entries: list[JournalEntry]
    user: User | None
    key: APIKey | None
    upstream: Upstream | None
    priced_since: datetime | None
    log_lines: list[dict[str, Any]]


def explain(*, request_id: uuid.UUID) -> Explanation:
    """Gathers it. Raises UnknownRequest."""
    # The hold first: settled in between, a request is then found twice and not missed.
    hold = Hold.objects.filter(pk=request_id).first()
    record = lookup.find(request_id)
    entries = list(
        JournalEntry.objects.filter(transaction_id=request_id, kind=JournalEntry.Kind.COMPLETION).order_by(
            "id"
        )
    )
    lines = log_lines(request_id)
    if not (hold or record or entries or lines):
        raise UnknownRequest(request_id)
    user_ids = [
        *([record.user_id] if record else []),
        *([hold.wallet_id] if hold else []),
        *(entry.wallet_id for entry in entries if entry.wallet_id),
    ]
    return Explanation(
        request_id=request_id,
        state=_state(hold, record, entries),
        hold=hold if record is None else None,
        record=record,
        entries=entries,
        user=User.objects.filter(pk__in=user_ids[:1]).first(),
        key=APIKey.objects.filter(pk=record.key_id).first() if record else None,
        upstream=Upstream.objects.filter(pk=record.upstream_id).first() if record else None,
        priced_since=_priced_since(record) if record else None,
        log_lines=lines,
    )


def newest_named(*, mobile: str, client_request_id: str) -> uuid.UUID:
    """The newest request of an account that its client gave this id (X-Client-Request-Id). Raises UnknownRequest.

    `mobile` is in E.164. Only settled requests are found: a hold does not know what its client called it.
    """
    named = UsageRecord.objects.filter(
        user_id__in=User.objects.filter(mobile=mobile).values("pk"), client_request_id=client_request_id
    ).exclude(client_request_id="")
    found = named.order_by("-created_at").values_list("pk", flat=True).first()
    if found is None:
        raise UnknownRequest(client_request_id)
    return found


def log_lines(request_id: uuid.UUID) -> list[dict[str, Any]]:
    """What the web processes of this machine have logged about a request, oldest first; none where it is elsewhere."""
    found = []
    names = (str(request_id).encode(), request_id.hex.encode())
    for path in sorted((settings.VAR_DIR / "logs").glob("web.log*"), reverse=True):
        for line in _lines(path):
            if any(name in line for name in names):
                try:
                    logged = json.loads(line)
                except ValueError:  # torn by a process that was killed
                    continue
                if logged.get("request") in (str(request_id), request_id.hex):
                    found.append(logged)
    return found


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:  # moved aside at this moment, or another user's
        return []


def _state(hold: Hold | None, record: UsageRecord | None, entries: list[JournalEntry]) -> State:
    if record is not None:
        return State.CAPTURED if record.cost_micro else State.VOIDED
    if hold is not None:
        return State.HELD if hold.expires_at > timezone.now() else State.OVERDUE
    if not entries:
        return State.EXPIRED
    since = partitions.kept_since()
    return State.ARCHIVED if since is not None and entries[0].created_at < since else State.BROKEN


def _priced_since(record: UsageRecord) -> datetime | None:
    """Since when the list held; of a record that names none, the newest list that says the same is the one."""
    if record.price_list_id is not None:
        return Price.objects.filter(pk=record.price_list_id).values_list("valid_from", flat=True).first()
    charged = PriceQuote(
        record.input_rial_per_million, record.output_rial_per_million, record.cached_input_rial_per_million
    )
    lists = Price.objects.filter(model__model_id=record.model, valid_from__lte=record.created_at)
    return next(
        (each.valid_from for each in lists.order_by("-valid_from") if quote(each) == charged),
        None,
    )
