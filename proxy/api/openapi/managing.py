"""What the document says of the management API: its operations, what they take and give, and what they refuse."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
)

from keys.rules import COUNT_MAX, GRACE_MAX, GRACE_USUAL, MODELS_MAX, NAME_MAX_LENGTH, NETWORKS_MAX
from proxy.api.manage.keys import ID_MAX_DIGITS, PAGE, PAGE_MAX
from proxy.api.manage.shown import STATES
from proxy.api.openapi.components import Schema, ref
from proxy.http.responses import REPLAYED_HEADER
from proxy.idempotency.claims import HEADER, KEY_MAX_CHARACTERS
from wallet.ledger.periods import Period
from wallet.money import TOMAN_MAX

# Of errors that only this API has.
CODES = frozenset(
    {
        "admin_key_required",
        "insufficient_scope",
        "no_new_keys",
        "key_not_found",
        "key_ended",
        "key_being_replaced",
        "too_many_keys",
        "project_not_found",
        "precondition_failed",
    }
)
OF_ALL = (
    *(
        "missing_api_key",
        "invalid_api_key",
        "admin_key_required",
        "network_not_allowed",
        "insufficient_scope",
    ),
    *("rate_limit_exceeded", "internal_error", "service_unavailable"),
)
OF_CHANGES = (
    *("invalid_json", "invalid_value", "request_in_progress", "idempotency_mismatch", "idempotency_replayed"),
    *("request_too_large", "request_timeout", "unsupported_encoding"),
)
OF_ONE = ("key_not_found",)
OF_VERSIONS = (*OF_ONE, "precondition_failed")

ID: Schema = {"type": "integer", "minimum": 1, "maximum": 10**ID_MAX_DIGITS - 1}
MOMENT: Schema = {"type": ["string", "null"], "format": "date-time"}
CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": NAME_MAX_LENGTH,
    "pattern": rf"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*$",
    "description": "For people, in one line.",
}


def _limit(what: str) -> Schema:
    return {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": COUNT_MAX,
        "description": f"{what}; the lower of this and the tier's holds. Null: the tier's.",
    }


RULES: dict[str, Schema] = {
    "cap_toman": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": TOMAN_MAX,
        "description": "The most the key may spend, in Toman. Null: what the wallet has.",
    },
    "cap_period": {
        "type": ["string", "null"],
        "enum": [*(period.value for period in Period), None],
        "description": "When the cap begins anew, at midnight in Tehran: each day, each Saturday, the first day of each"
        " Jalali month, or never. Another period than before begins a new count. Null: as it is; told where there is"
        " no cap.",
    },
    "expires_at": {**MOMENT, "description": "A time to come before the year 2200. Null: never."},
    "allowed_models": {
        "type": "array",
        "maxItems": MODELS_MAX,
        "items": {"type": "string", "format": "model-id"},
        "description": "IDs of models on sale. Empty: all of them, those to come too.",
    },
    "allowed_networks": {
        "type": "array",
        "maxItems": NETWORKS_MAX,
        "items": {"type": "string", "format": "cidr"},
        "description": "Where the key may be used from, such as 203.0.113.0/24. Empty: from anywhere.",
    },
    "rpm": _limit("Requests per minute"),
    "tpm": _limit("Tokens per minute"),
    "concurrency": _limit("Requests at once"),
}
SHOWN: dict[str, Schema] = {
    "object": {"type": "string", "const": "api_key"},
    "id": ID,
    "name": NAME,
    "hint": {
        "type": "string",
        "description": "How the key is recognised: hm-… and its last four characters.",
    },
    "state": {"type": "string", "enum": list(STATES)},
    "created_at": {"type": "string", "format": "date-time"},
    "last_used_at": {**MOMENT, "description": "As it was known some seconds ago."},
    "revoked_at": MOMENT,
    **RULES,
    "spent_toman": {
        "type": ["number", "null"],
        "minimum": 0,
        "description": "What counts towards the cap. Null: there is none.",
    },
    "resets_at": {**MOMENT, "description": "When the cap begins anew. Null: never."},
    "project_id": {"type": ["integer", "null"], "description": "The key's project. Null: it has none."},
    "replaces": {"type": ["integer", "null"], "description": "The id of the key that this one replaced."},
    "replaced_by": {"type": ["integer", "null"], "description": "The id of the key that replaced this one."},
    "etag": {
        "type": "string",
        "description": "The version of its settings, for If-Match. Being used does not change it.",
    },
}
SECRET: Schema = {
    "type": "string",
    "description": "The key itself. Told here alone, and to a repeat under the same Idempotency-Key within 24 hours.",
}
COMPONENTS: dict[str, Schema] = {
    "ManagedKey": {"type": "object", "required": list(SHOWN), "properties": SHOWN},
    "ManagedKeyWithSecret": {
        "type": "object",
        "required": [*SHOWN, "secret"],
        "properties": {**SHOWN, "secret": SECRET},
    },
    "ManagedKeyList": {
        "type": "object",
        "required": ["object", "data", "first_id", "last_id", "has_more"],
        "properties": {
            "object": {"type": "string", "const": "list"},
            "data": {"type": "array", "maxItems": PAGE_MAX, "items": ref("ManagedKey")},
            "first_id": {"type": ["integer", "null"]},
            "last_id": {"type": ["integer", "null"], "description": "The next page's `after`."},
            "has_more": {"type": "boolean"},
        },
    },
    "NewKey": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": NAME,
            **RULES,
            "project_id": {
                "type": ["integer", "null"],
                "description": "An open project of the account, for good. Null: none.",
            },
        },
        "additionalProperties": False,
    },
    "KeyChanges": {
        "type": "object",
        "properties": {"name": NAME, **RULES},
        "additionalProperties": False,
        "description": "What is not named stays as it is; null takes a limit away.",
    },
    "Rotation": {
        "type": "object",
        "properties": {
            "grace_seconds": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": int(GRACE_MAX.total_seconds()),
                "default": int(GRACE_USUAL.total_seconds()),
                "description": "How long the old key still works.",
            }
        },
        "additionalProperties": False,
    },
}


def _query(name: str, schema: Schema, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=description)


def _header(name: str, schema: Schema, description: str, *, of_answer: bool = False) -> OpenApiParameter:
    response = [200, 201] if of_answer else False
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=description, response=response)


KEY_ID = OpenApiParameter("key_id", ID, OpenApiParameter.PATH, description="The key's id.")
PRINTABLE: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": KEY_MAX_CHARACTERS,
    "pattern": "^[!-~]([ -~]*[!-~])?$",
}
ONCE = (
    _header(HEADER, PRINTABLE, "A repeat within 24 hours is given the same answer, and changes nothing."),
    _header(REPLAYED_HEADER, {"type": "string"}, "`true` on the answer of a repeat.", of_answer=True),
)
IF_MATCH = _header("If-Match", {"type": "string"}, "ETags that the key has to have, or 412.")
ETAG = _header("ETag", {"type": "string"}, "The version of the key's settings.", of_answer=True)
LOCATION = _header("Location", {"type": "string"}, "The new key's address.", of_answer=True)


@dataclass(frozen=True, slots=True)
class Managing:
    """One operation. `answered`: a component, of an answer with `status`; `asked`: likewise, of its body, if any."""

    method: str
    operation_id: str
    summary: str
    description: str
    answered: str
    parameters: Sequence[OpenApiParameter]
    refused_by: Sequence[str]
    asked: str = ""
    example: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200

    def schema(self, common: Sequence[OpenApiParameter], refusals: Callable[[Iterable[str]], Any]) -> Any:
        examples = [OpenApiExample("whole", value=dict(self.example))] if self.example else []
        body = (
            {"application/json": OpenApiRequest(ref(self.asked), examples=examples)} if self.asked else None
        )
        return extend_schema(
            operation_id=self.operation_id,
            summary=self.summary,
            description=self.description,
            tags=["Management"],
            parameters=[*common, *self.parameters],
            request=body,
            responses={
                self.status: OpenApiResponse(ref(self.answered), description=f"{self.summary}: the answer."),
                **refusals([*OF_ALL, *self.refused_by]),
            },
        )


STATE: Schema = {
    "type": "string",
    "pattern": rf"^({'|'.join(STATES)})(,({'|'.join(STATES)}))*$",
}
# By the view that answers them.
MANAGING: Mapping[str, Sequence[Managing]] = {
    "proxy.api.manage.keys.Keys": (
        Managing(
            "get",
            "listKeys",
            "List the keys of an account",
            "Newest first. Needs the scope keys:read.",
            "ManagedKeyList",
            (
                _query(
                    "limit",
                    {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE},
                    "Of a page.",
                ),
                _query("after", {**ID, "minimum": 0}, "The last_id of the page before."),
                _query("state", STATE, "In these states alone, with commas between them."),
            ),
            ("invalid_value",),
        ),
        Managing(
            "post",
            "createKey",
            "Create a key",
            "The answer alone tells its secret. Needs the scope keys:write.",
            "ManagedKeyWithSecret",
            (*ONCE, ETAG, LOCATION),
            (*OF_CHANGES, "no_new_keys", "too_many_keys", "project_not_found"),
            "NewKey",
            {"name": "customer 4711", "cap_toman": 200_000, "rpm": 60},
            201,
        ),
    ),
    "proxy.api.manage.keys.Key": (
        Managing(
            "get",
            "retrieveKey",
            "Retrieve a key",
            "One key. Needs the scope keys:read.",
            "ManagedKey",
            (KEY_ID, ETAG),
            OF_ONE,
        ),
        Managing(
            "patch",
            "changeKey",
            "Change a key",
            "In force within seconds. Needs the scope keys:write.",
            "ManagedKey",
            (KEY_ID, *ONCE, IF_MATCH, ETAG),
            (*OF_CHANGES, *OF_VERSIONS, "key_ended"),
            "KeyChanges",
            {"cap_toman": 500_000, "rpm": None},
        ),
        Managing(
            "delete",
            "revokeKey",
            "Revoke a key",
            "It never works again, and stays in the list as revoked. Needs the scope keys:write.",
            "ManagedKey",
            (KEY_ID, *ONCE, IF_MATCH, ETAG),
            (*OF_CHANGES, *OF_VERSIONS),
        ),
    ),
    "proxy.api.manage.keys.Rotate": (
        Managing(
            "post",
            "rotateKey",
            "Replace a key",
            "A new key with the same name and rules, which shares the old one's cap. Needs the scope keys:write.",
            "ManagedKeyWithSecret",
            (KEY_ID, *ONCE, IF_MATCH, ETAG, LOCATION),
            (*OF_CHANGES, *OF_VERSIONS, "no_new_keys", "key_ended", "key_being_replaced"),
            "Rotation",
            {"grace_seconds": 86_400},
            201,
        ),
    ),
}
