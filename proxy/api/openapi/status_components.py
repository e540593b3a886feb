"""What /public/status.json tells, as JSON Schema."""

from typing import Any

from proxy.api.openapi.components import MOMENT, TEXT, Schema
from proxy.usage.health.report import State


def _object(properties: dict[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties, **more}


STATE: Schema = {"type": "string", "enum": [state.value for state in State]}
PERCENT: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 100}
TIMES: Schema = {
    "type": ["object", "null"],
    "required": ["p50", "p95"],
    "properties": {"p50": {"type": "integer"}, "p95": {"type": "integer"}},
    "description": "Half of the answers took no longer than `p50`, 95 of 100 no longer than `p95`.",
}
FIGURES = _object(
    {"state": STATE, "answered_percent": PERCENT, "first_byte_ms": TIMES, "whole_answer_ms": TIMES}
)
MARKS: Schema = {
    "type": "array",
    "items": _object({"starts_at": MOMENT, "state": STATE, "answered_percent": PERCENT}),
}
MOMENT_OR_NULL: Schema = {**MOMENT, "type": ["string", "null"]}
MODEL = _object(
    {
        "id": TEXT,
        "state": STATE,
        "last_hour": FIGURES,
        "last_day": FIGURES,
        "last_month": FIGURES,
        "hours": MARKS,
        "days": MARKS,
    }
)
OF_STATUS: dict[str, Schema] = {
    "Status": _object(
        {
            "object": {"type": "string", "const": "status"},
            "state": STATE,
            "made_at": MOMENT,
            "since": MOMENT_OR_NULL,
            "counted_until": MOMENT_OR_NULL,
            "is_behind": {"type": "boolean"},
            "definition": TEXT,
            "data": {"type": "array", "items": MODEL},
        }
    )
}
