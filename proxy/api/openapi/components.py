"""The API's objects as JSON Schema: what is read and said of them, and open to whatever else passes through."""

from typing import Any

from proxy.api.chat_completions.messages import MESSAGES_MAX, ROLES
from proxy.api.chat_completions.request import N_MAX, OUTPUT_LIMIT_MAX
from proxy.errors import ERRORS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: list[str], properties: dict[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "required": required, "properties": properties, **more}


def _tokens(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": description}


OUTPUT_LIMIT: Schema = {"type": ["integer", "null"], "minimum": 1, "maximum": OUTPUT_LIMIT_MAX}
TEXT: Schema = {"type": "string"}

MISSING = {
    "required_toman": "what has to be available for this request",
    "available_toman": "what is",
    "max_tokens_that_fit": "the longest answer that this covers, 0 for none",
}
ERROR = _object(
    ["error"],
    {
        "error": _object(
            ["message", "type", "param", "code"],
            {
                "message": {"type": "string", "description": "For people."},
                "type": {
                    "type": "string",
                    "enum": sorted({kind for _status, kind, _text in ERRORS.values()}),
                },
                "param": {"type": ["string", "null"], "description": "The field that is meant."},
                "code": {
                    "type": ["string", "null"],
                    "description": "Stable, for programs. An upstream's own, or null, where its refusal is passed on.",
                    "examples": list(ERRORS),
                },
                **{
                    name: {"type": "number", "minimum": 0, "description": f"With 402: {what}."}
                    for name, what in MISSING.items()
                },
            },
        )
    },
)

MESSAGE = _object(
    ["role"],
    {
        "role": {"type": "string", "enum": sorted(ROLES)},
        "content": {
            "description": "Text, or parts of text, images, sound and files. "
            "Messages of assistant, tool and function need none.",
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": _object(["type"], {"type": TEXT})},
                {"type": "null"},
            ],
        },
        "name": TEXT,
        "tool_calls": {"type": ["array", "null"], "items": {"type": "object"}},
        "tool_call_id": TEXT,
    },
)

REQUEST = _object(
    ["model", "messages"],
    {
        "model": {"type": "string", "description": "ID of the model to use."},
        "messages": {"type": "array", "minItems": 1, "maxItems": MESSAGES_MAX, "items": ref("Message")},
        "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2, "default": 1},
        "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "default": 1},
        "max_tokens": {
            **OUTPUT_LIMIT,
            "description": "Most tokens of the answer. Without it, the model's longest answer, "
            "or what the wallet covers. It is always sent to the model, by the name that the model's service obeys.",
        },
        "max_completion_tokens": {
            **OUTPUT_LIMIT,
            "description": "The newer name of max_tokens. Of both, the lower counts.",
        },
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": N_MAX, "default": 1},
        "stream": {"type": ["boolean", "null"], "default": False},
        "stream_options": {
            "type": ["object", "null"],
            "properties": {
                "include_usage": {
                    "type": ["boolean", "null"],
                    "description": "Ends the stream with a chunk that carries usage and cost.",
                }
            },
        },
    },
    additionalProperties=True,
    description="Fields that are not named here go to the model unchanged: tools, response_format, seed and so on.",
)

USAGE = _object(
    ["prompt_tokens", "completion_tokens", "total_tokens", "cost_toman", "cost_details"],
    {
        "prompt_tokens": _tokens("Including cached ones."),
        "completion_tokens": _tokens("Including reasoning."),
        "total_tokens": _tokens("Their sum, as the upstream counts it."),
        "prompt_tokens_details": {
            "type": ["object", "null"],
            "properties": {"cached_tokens": {"type": ["integer", "null"], "minimum": 0}},
        },
        "cost_toman": {
            "type": "number",
            "minimum": 0,
            "description": "What the wallet paid for this answer, in Toman.",
        },
        "cost_details": {
            "type": "object",
            "description": "What that was paid for: input, cached_input, output and so on, each with its quantity. "
            "The amounts add up to cost_toman. What went beyond the hold is not_charged, a negative amount.",
            "additionalProperties": _object(
                ["toman"],
                {"quantity": {"type": "integer", "minimum": 1}, "toman": {"type": "number"}},
            ),
        },
    },
)


def _choice(part: str, schema: Schema) -> Schema:
    return _object(
        ["index", part],
        {"index": {"type": "integer"}, part: schema, "finish_reason": {"type": ["string", "null"]}},
    )


COMPLETION = _object(
    ["choices", "usage"],
    {
        "id": TEXT,
        "object": {"type": "string", "examples": ["chat.completion"]},
        "created": {"type": "integer", "description": "Unix seconds."},
        "model": TEXT,
        "choices": {"type": "array", "minItems": 1, "items": _choice("message", ref("Message"))},
        "usage": ref("Usage"),
    },
)

CHUNK = _object(
    ["choices"],
    {
        "id": TEXT,
        "object": {"type": "string", "examples": ["chat.completion.chunk"]},
        "created": {"type": "integer"},
        "model": TEXT,
        "choices": {
            "type": "array",
            "items": _choice(
                "delta", {"type": "object", "properties": {"content": {"type": ["string", "null"]}}}
            ),
        },
        "usage": {"oneOf": [ref("Usage"), {"type": "null"}]},
    },
    description="One event of a stream.",
)

MODEL = _object(
    ["id", "object", "created", "owned_by"],
    {
        "id": TEXT,
        "object": {"type": "string", "const": "model"},
        "created": {"type": "integer", "description": "Unix seconds."},
        "owned_by": TEXT,
    },
)

MODELS = _object(
    ["object", "data"],
    {"object": {"type": "string", "const": "list"}, "data": {"type": "array", "items": ref("Model")}},
)

COMPONENTS: dict[str, Schema] = {
    "ChatCompletionRequest": REQUEST,
    "Message": MESSAGE,
    "ChatCompletion": COMPLETION,
    "ChatCompletionChunk": CHUNK,
    "Usage": USAGE,
    "Model": MODEL,
    "ModelList": MODELS,
    "Error": ERROR,
}
