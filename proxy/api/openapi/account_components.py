"""The objects of the account as JSON Schema."""

from typing import Any

from proxy.api.account.requests import IDS_MAX, IN_PROGRESS
from proxy.api.openapi.components import MOMENT, NUMBER, TEXT, Schema, list_of, ref
from proxy.usage.models import UsageRecord
from proxy.usage.sums import GROUPS
from wallet.ledger.models import JournalEntry
from wallet.ledger.periods import Period


def _object(properties: dict[str, Schema], *, optional: frozenset[str] = frozenset(), **more: Any) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, **more}


def _toman(description: str) -> Schema:
    return {"type": "number", "description": f"{description} In Toman, with all of its digits."}


def _micro(description: str) -> Schema:
    return {
        "type": "integer",
        "description": f"{description} In micro-Rial, of which 10,000,000 are a Toman.",
    }


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _const(value: str) -> Schema:
    return {"type": "string", "const": value}


COUNTED = ("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "total_tokens")
DAY: Schema = {"type": "string", "format": "date"}
COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
BALANCE = _object(
    {
        "available_toman": _toman("What can be spent now."),
        "held_toman": _toman("What running requests hold."),
        "posted_toman": _toman("What the statement says: both together."),
        "available_micro": _micro("What can be spent now."),
        "currency": _const("IRT"),
        "low_balance_threshold_toman": _or_null(_toman("Below which you are told; null: never.")),
    }
)
OF_LIMIT = _object({"limit": COUNT, "used": COUNT, "remaining": COUNT})
LIMIT_NAMES = (
    "requests_per_minute",
    "tokens_per_minute",
    "requests_per_day",
    "tokens_per_day",
    "concurrency",
)
LEFT = _object(
    dict.fromkeys(LIMIT_NAMES, OF_LIMIT),
    description="Over any 60 seconds, and over the day in Tehran. null: no limit, and so not counted.",
)
NAMED_LIMITS = _object(dict.fromkeys(LIMIT_NAMES, COUNT), description="null: no limit.")
CAP = _object(
    {
        "limit_toman": _toman("The cap."),
        "spent_toman": _toman("What was spent of it."),
        "held_toman": _toman("What running requests hold of it."),
        "remaining_toman": _toman("What is left."),
        "period": {"type": "string", "enum": list(Period), "description": "After which it begins anew."},
        "resets_at": _or_null(MOMENT),
    }
)
KEY = _object(
    {
        "object": _const("key"),
        "name": TEXT,
        "hint": {**TEXT, "description": "The end of its secret."},
        "created_at": MOMENT,
        "expires_at": _or_null(MOMENT),
        "tier": TEXT,
        "limits": LEFT,
        "account_limits": {**LEFT, "description": "Of all keys of the account together."},
        "model_limits": {
            "type": "array",
            "items": _object(
                {
                    "model": TEXT,
                    "limits": NAMED_LIMITS,
                    "account_limits": {**NAMED_LIMITS, "description": "Of all keys of the account together."},
                }
            ),
            "description": "What holds besides for single models.",
        },
        "day_resets_at": {**MOMENT, "description": "Tehran's next midnight."},
        "cap": {"oneOf": [CAP, {"type": "null"}]},
        "project": {
            "oneOf": [
                _object({"id": NUMBER, "name": TEXT, "cap": {"oneOf": [CAP, {"type": "null"}]}}),
                {"type": "null"},
            ],
            "description": "Whose cap the key counts towards too.",
        },
        "allowed_models": {"type": "array", "items": TEXT, "description": "Empty: all."},
        "allowed_networks": {"type": "array", "items": TEXT, "description": "Empty: all."},
    }
)
USED = _object(
    {
        "prompt_tokens": NUMBER,
        "completion_tokens": NUMBER,
        "total_tokens": NUMBER,
        "prompt_tokens_details": {"type": "object"},
        "cost_details": {
            "type": "object",
            "description": "By component: quantity and Toman, as in the answer.",
        },
    }
)
REQUEST_KEY = _object({"name": TEXT, "hint": TEXT})
OF_SETTLED: dict[str, Schema] = {
    "http_status": {"type": "integer"},
    "endpoint": TEXT,
    "model": TEXT,
    "stream": {"type": "boolean"},
    "client_request_id": _or_null({**TEXT, "description": "What X-Client-Request-Id said."}),
    "end_user": _or_null({**TEXT, "description": "For whom it was made, as far as the client said."}),
    "key": {"oneOf": [REQUEST_KEY, {"type": "null"}]},
    "usage": USED,
    "cost_toman": _toman("What was debited."),
    "cost_micro": _micro("What was debited."),
    "billed_by": {"type": "string", "enum": UsageRecord.BilledBy.values},
    "ended_at": MOMENT,
    "first_byte_ms": COUNT,
    "total_ms": {"type": "integer"},
}
OF_RUNNING: dict[str, Schema] = {
    "held_toman": _toman("What is held for it."),
    "held_micro": _micro("What is held for it."),
}
REQUEST = _object(
    {
        "id": TEXT,
        "object": _const("request"),
        "status": {"type": "string", "enum": [IN_PROGRESS, *UsageRecord.Outcome.values]},
        "started_at": MOMENT,
        **OF_SETTLED,
        **OF_RUNNING,
    },
    optional=frozenset({*OF_SETTLED, *OF_RUNNING}),
    description=f"While `{IN_PROGRESS}`, what is held; afterwards everything else, and for good.",
)
TRANSACTION = _object(
    {
        "id": {**TEXT, "description": "Of the request or the top-up behind it."},
        "object": _const("transaction"),
        "kind": {"type": "string", "enum": JournalEntry.Kind.values},
        "created_at": MOMENT,
        "amount_toman": _toman("Below zero: debited."),
        "amount_micro": _micro("Below zero: debited."),
        "balance_toman": _toman("What was there afterwards."),
        "balance_micro": _micro("What was there afterwards."),
    }
)
IDS: Schema = {"type": "array", "maxItems": IDS_MAX, "items": TEXT}
SUM = _object(
    {
        "day": {"type": "string", "format": "date", "description": "Of Tehran."},
        "jalali_day": {**TEXT, "description": "The same day by the Jalali calendar."},
        "hour": MOMENT,
        "key": _object({"id": {"type": "integer"}, "name": _or_null(TEXT), "hint": _or_null(TEXT)}),
        "model": TEXT,
        "endpoint": TEXT,
        "user": {
            "description": "An end user of yours; null: none was named.",
            "oneOf": [_object({"digest": TEXT, "hint": TEXT}), {"type": "null"}],
        },
        **dict.fromkeys(COUNTED, NUMBER),
        "cost_toman": _toman("What was debited."),
        "cost_micro": _micro("What was debited."),
    },
    optional=frozenset({"jalali_day", *GROUPS}),
    description="With the groups that were asked for.",
)
OF_ACCOUNT: dict[str, Schema] = {
    "Balance": BALANCE,
    "Key": KEY,
    "RequestLookup": _object(
        {"ids": IDS, "client_request_ids": IDS},
        optional=frozenset({"ids", "client_request_ids"}),
        description="At least one id, and 1,000 in all.",
    ),
    "Request": REQUEST,
    "RequestList": list_of(ref("Request"), not_found={"type": "array", "items": TEXT}),
    "UsageList": list_of(
        SUM,
        **{"from": DAY, "to": DAY},
        has_more={"type": "boolean"},
        next_after={"type": ["string", "null"], "description": "`after` of the next page."},
    ),
    "TransactionList": list_of(
        TRANSACTION,
        has_more={"type": "boolean"},
        next_after={"type": ["string", "null"], "description": "`after` of what follows, now or later."},
    ),
}
