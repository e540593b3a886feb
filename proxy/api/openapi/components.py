"""The API's objects as JSON Schema: what is read and said of them, and open to whatever else passes through."""

from typing import Any

from proxy.api.chat_completions.messages import MESSAGES_MAX, ROLES
from proxy.api.chat_completions.request import N_MAX, OUTPUT_LIMIT_MAX
from proxy.catalogue.endpoints import ENDPOINTS
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
NUMBER: Schema = {"type": "number", "minimum": 0}

MISSING = {
    "required_toman": "what has to be available for this request",
    "available_toman": "what is",
    "max_tokens_that_fit": "the longest answer that this covers, 0 for none",
}
ADVICE: dict[str, Schema] = {
    "solution": {
        "type": "string",
        "description": "What to do next. In Persian with `Accept-Language: fa`, or `?lang=fa` in the address.",
    },
    "docs": {"type": "string", "format": "uri", "description": "The error's place in the reference."},
}
ERROR = _object(
    ["error"],
    {
        "error": _object(
            ["message", "type", "param", "code", *ADVICE],
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
                **ADVICE,
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

COMPONENT_PRICES: Schema = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}
PRICES: dict[str, Schema] = {
    "per_million": {**COMPONENT_PRICES, "description": "By component, for a million."},
    "each": {**COMPONENT_PRICES, "description": "By component, for one: image, audio_second, page, request."},
    "tiers": {
        "type": "array",
        "description": "The highest one that a prompt passes prices the whole request.",
        "items": _object(["above_tokens"], {"above_tokens": {"type": "integer"}}),
    },
    "images": {"type": "array", "items": _object(["price"], {"price": {"type": "number"}})},
}
MOMENT: Schema = {"type": "string", "format": "date-time"}
PRICING = _object(
    ["currency", "valid_from", "dollar_basis"],
    {
        "currency": {"type": "string", "const": "toman"},
        **PRICES,
        "valid_from": MOMENT,
        "dollar_basis": {
            "type": ["object", "null"],
            "description": "What the prices were made of, where that is dollars.",
        },
    },
)
LIMIT_NAMES = ["rpm", "tpm", "concurrency", "rpd", "tpd"]
LIMITS = _object(LIMIT_NAMES, {name: {"type": ["integer", "null"]} for name in LIMIT_NAMES})
PUBLIC_MODEL = _object(
    [
        "id",
        "object",
        "created",
        "owned_by",
        "context_length",
        "max_output_tokens",
        "endpoints",
        "modalities",
        "pricing",
        "announced",
    ],
    {
        "id": TEXT,
        "object": {"type": "string", "const": "model"},
        "created": {"type": "integer", "description": "Unix seconds."},
        "owned_by": TEXT,
        "context_length": _tokens("Prompt and answer together."),
        "max_output_tokens": _tokens("Of one answer."),
        "endpoints": {"type": "array", "items": {"type": "string", "enum": list(ENDPOINTS)}},
        "modalities": _object(
            ["input", "output"],
            {"input": {"type": "array", "items": TEXT}, "output": {"type": "array", "items": TEXT}},
        ),
        "pricing": PRICING,
        "announced": {
            "type": "array",
            "items": PRICING,
            "description": "Price lists to come, the next first.",
        },
    },
)
MODEL = _object(
    [*PUBLIC_MODEL["required"], "limits"],
    {
        **PUBLIC_MODEL["properties"],
        "limits": {**LIMITS, "description": "This key's, or the model's own where these are lower."},
    },
)


def list_of(items: Schema, **more: Schema) -> Schema:
    """OpenAI's list, and what stands beside its `data`."""
    listed: dict[str, Schema] = {
        "object": {"type": "string", "const": "list"},
        "data": {"type": "array", "items": items},
    }
    return _object(["object", "data", *more], {**listed, **more})


MODELS = list_of(ref("Model"))
TIER = _object(
    ["name", "is_default", "lifetime_topup_toman", "limits", "account_limits"],
    {
        "name": TEXT,
        "is_default": {"type": "boolean", "description": "Whether new accounts have it."},
        "lifetime_topup_toman": {
            "type": ["integer", "null"],
            "description": "What has to be paid in for it; null: by agreement, or from the beginning.",
        },
        "limits": {**LIMITS, "description": "Of each key; null: no limit of its own."},
        "account_limits": {**LIMITS, "description": "Of all keys of an account together."},
    },
)
PUBLIC_MODELS = list_of(
    PUBLIC_MODEL,
    rate={
        "description": "What a dollar costs now, if there is a rate.",
        "oneOf": [
            _object(["toman_per_dollar", "valid_from"], {"toman_per_dollar": NUMBER, "valid_from": MOMENT}),
            {"type": "null"},
        ],
    },
    tiers={"type": "array", "items": TIER, "description": "The same for every model."},
)
PUBLIC_PRICES = list_of(
    _object(
        ["model", "valid_until", "pricing"],
        {
            "model": TEXT,
            "valid_until": {
                **MOMENT,
                "type": ["string", "null"],
                "description": "When the next list begins; null: there is none yet.",
            },
            "pricing": PRICING,
        },
    ),
    page={"type": "integer", "minimum": 1},
    has_more={"type": "boolean"},
    next={"type": ["string", "null"], "description": "The address of the next page."},
)

ANTHROPIC_ERROR = _object(
    ["type", "error", "request_id"],
    {
        "type": {"type": "string", "const": "error"},
        "error": _object(
            ["type", "message", "code", *ADVICE],
            {
                "type": {"type": "string", "description": "Anthropic's word for the status."},
                "message": {"type": "string", "description": "For people."},
                "code": {"type": ["string", "null"], "description": "Ours, as in Error."},
                "param": TEXT,
                **ADVICE,
            },
        ),
        "request_id": TEXT,
    },
)


def _asked(required: list[str], **properties: Schema) -> Schema:
    """A body of a vendor's own API: what is read of it here. The rest passes as it is written."""
    return _object(required, {"model": TEXT, **properties}, additionalProperties=True)


def _charged(required: list[str], **properties: Schema) -> Schema:
    """An answer of a vendor's own API, and what it cost."""
    usage = _object(
        ["cost_toman", "cost_details"],
        {name: USAGE["properties"][name] for name in ("cost_toman", "cost_details")},
    )
    return _object(required, {**properties, "usage": usage})


ANYTHING: Schema = {}
BINARY: Schema = {"type": "string", "format": "binary"}
OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
STREAM: Schema = {"type": ["boolean", "null"], "default": False}
OF_OTHER_ENDPOINTS: dict[str, Schema] = {
    "ResponsesRequest": _asked(
        ["model", "input"],
        input={"description": "Text or items.", "type": ["string", "array"]},
        instructions={"type": ["string", "null"]},
        max_output_tokens=OUTPUT_LIMIT,
        stream=STREAM,
        previous_response_id={"type": "null", "description": "Nothing is stored."},
    ),
    "Response": _charged(
        ["id", "object", "status", "output", "usage"],
        id=TEXT,
        object={"type": "string", "const": "response"},
        status=TEXT,
        output=OBJECTS,
    ),
    "MessagesRequest": _asked(
        ["model", "max_tokens", "messages"],
        max_tokens={"type": "integer", "minimum": 1},
        messages={**OBJECTS, "minItems": 1},
        stream=STREAM,
    ),
    "AnthropicMessage": _charged(
        ["id", "type", "role", "content", "stop_reason", "usage"],
        id=TEXT,
        type={"type": "string", "const": "message"},
        role={"type": "string", "const": "assistant"},
        content=OBJECTS,
        stop_reason={"type": ["string", "null"]},
    ),
    "CountTokensRequest": _asked(["model", "messages"], messages={**OBJECTS, "minItems": 1}),
    "TokenCount": _object(["input_tokens"], {"input_tokens": _tokens("Of the prompt.")}),
    "CompletionRequest": _asked(
        ["model", "prompt"],
        prompt={"type": ["string", "array"]},
        max_tokens=OUTPUT_LIMIT,
        stream=STREAM,
    ),
    "Completion": _charged(["choices", "usage"], choices=OBJECTS),
    "EmbeddingsRequest": _asked(["model", "input"], input={"type": ["string", "array"]}),
    "Embeddings": _charged(["object", "data", "usage"], object={"const": "list"}, data=OBJECTS),
    "ModerationsRequest": _asked(["input"], input={"type": ["string", "array"]}),
    "Moderations": _object(["results"], {"results": OBJECTS}),
    "ImagesRequest": _asked(["model", "prompt"], prompt=TEXT, n={"type": ["integer", "null"], "minimum": 1}),
    "Images": _object(["data"], {"data": OBJECTS}),
    "ImageEditForm": _asked(["model", "prompt", "image"], prompt=TEXT, image=BINARY, mask=BINARY),
    "TranscriptionForm": _asked(["model", "file"], file=BINARY, response_format=TEXT, stream=STREAM),
    "Transcription": _object(["text"], {"text": TEXT}),
    "SpeechRequest": _asked(["model", "input", "voice"], input=TEXT, voice=ANYTHING),
    "AnthropicError": ANTHROPIC_ERROR,
}

COMPONENTS: dict[str, Schema] = {
    **OF_OTHER_ENDPOINTS,
    "ChatCompletionRequest": REQUEST,
    "Message": MESSAGE,
    "ChatCompletion": COMPLETION,
    "ChatCompletionChunk": CHUNK,
    "Usage": USAGE,
    "Model": MODEL,
    "ModelList": MODELS,
    "PublicModelList": PUBLIC_MODELS,
    "PublicPriceList": PUBLIC_PRICES,
    "Error": ERROR,
}
