"""What /v1/openapi.json says: drf-spectacular's OpenAPI 3.1 of the views behind the API's own addresses.

The views carry nothing of it: what they take and give is told here, by extensions, so that a web process loads
drf-spectacular (4 MB, a tenth of a second) only when somebody asks for the document.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import orjson
from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)

from proxy.api.messages import errors as messages_errors
from proxy.api.openapi import managing, samples
from proxy.api.openapi.account_components import OF_ACCOUNT
from proxy.api.openapi.components import COMPONENTS, ref
from proxy.api.openapi.managing import MANAGING, Managing
from proxy.api.openapi.operations import OPERATIONS, Operation
from proxy.api.openapi.readings import READINGS, Reading
from proxy.api.openapi.status_components import OF_STATUS
from proxy.api.origin import CLIENT_REQUEST_ID
from proxy.catalogue import starter
from proxy.errors import ERRORS, APIError
from proxy.http.etags import etag_of
from proxy.http.responses import (
    COST_HEADER,
    LEFT_OUT_HEADER,
    ORIGINAL_HEADER,
    OWN_ID_HEADER,
    REPLAYED_HEADER,
)
from proxy.idempotency import claims
from proxy.limits.admission import Admission, Limits
from proxy.usage.origins import CLIENT_REQUEST_ID_MAX

VERSION = "1"
# An operation's own method and path are right, so it cannot meet these.
OF_NO_OPERATION = frozenset({"not_found", "method_not_allowed"})
OF_KEYS = ("missing_api_key", "invalid_api_key", "admin_key_not_allowed", "network_not_allowed")
OF_EVERY_OPERATION = (
    *OF_KEYS,
    "internal_error",
    "service_unavailable",
)
OF_ACCOUNTS = frozenset({"project_key_not_allowed"})
OF_READINGS = (*OF_EVERY_OPERATION, "rate_limit_exceeded", *OF_ACCOUNTS)
OF_COMPLETIONS = tuple(code for code in ERRORS if code not in OF_NO_OPERATION | OF_ACCOUNTS | managing.CODES)
STATUSES = {
    400: "The request is not right; sending it again does not help.",
    401: "No key, or one that does not work.",
    402: "The wallet does not cover the request.",
    403: "The request is not allowed.",
    404: "There is no such model, or the account has no such request or key.",
    408: "The request body did not arrive in time.",
    409: "The Idempotency-Key is that of a request that is running, or was answered; or the key's state forbids it.",
    412: "The key has changed since the version that If-Match names.",
    413: "The request is too large: its body, or its tokens for the key's limit.",
    415: "The request body is compressed.",
    422: "The Idempotency-Key is that of another request.",
    429: "Over a limit of the key. Retry-After says when to try again.",
    431: "The request's address and headers are too large.",
    500: "A fault of the service.",
    502: "The upstream failed. Nothing is charged.",
    503: "The service cannot take requests right now. Retry-After says when to try again.",
}


@lru_cache(maxsize=1)
def document(model_id: str) -> tuple[bytes, str]:
    """The document as JSON, with `model_id` in its examples, and its ETag."""
    schema = SchemaGenerator(urlconf="proxy.api.urls").get_schema(public=True)  # type: ignore[no-untyped-call]
    schema["info"] = {
        "title": "Hamiran API",
        "version": VERSION,
        "summary": "OpenAI's and Anthropic's APIs on one key, paid in Toman",
        "description": f"Any OpenAI SDK works with this base URL. The reference is at {settings.BASE_URL}/docs/.",
    }
    schema["servers"] = [{"url": f"{settings.BASE_URL}/v1"}]
    schema["components"]["schemas"] = COMPONENTS | OF_ACCOUNT | OF_STATUS | managing.COMPONENTS
    for path, operations in schema["paths"].items():
        if path.startswith("/public/"):
            operations["servers"] = [{"url": settings.BASE_URL}]
    _require_bodies(schema)
    content = orjson.dumps(schema).replace(b"MODEL_ID", orjson.dumps(model_id)[1:-1])
    return content, etag_of(content)


def _require_bodies(schema: dict[str, Any]) -> None:
    """A body is needed where any of its members is, which drf-spectacular does not say of a schema by its name."""
    components = schema["components"]["schemas"]
    for item in schema["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict) and (body := operation.get("requestBody")):
                [asked] = body["content"].values()
                name = asked["schema"]["$ref"].rpartition("/")[2]
                body["required"] = bool(components[name].get("required"))


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "proxy.http.authentication.KeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API key: hm- and 36 characters."}


class AdminScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "proxy.http.authentication.AdminAuthentication"
    name = "adminKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An admin key: hm-admin- and 36 characters.",
        }


def _refusals(codes: Iterable[str], *, is_anthropics: bool = False) -> dict[int, OpenApiResponse]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        status = messages_errors.status_of(APIError(code)) if is_anthropics else ERRORS[code][0]
        by_status.setdefault(status, []).append(code)
    return {
        status: OpenApiResponse(
            ref("AnthropicError" if is_anthropics else "Error"),
            description=STATUSES[status],
            examples=[
                OpenApiExample(code, value=_said(APIError(code), is_anthropics=is_anthropics))
                for code in codes_of_it
            ],
        )
        for status, codes_of_it in sorted(by_status.items())
    }


def _said(error: APIError, *, is_anthropics: bool) -> dict[str, Any]:
    return messages_errors.body(error, request_id="0198") if is_anthropics else error.body()


def _headers() -> list[OpenApiParameter]:
    minutes = "Where the key stands within any 60 seconds."
    days = "Where the key stands on this day, Tehran time, if its requests or tokens per day are limited."
    rates = Admission(0, 0, 0, 0, 0).headers(Limits(1, 1, None, 1, 1))
    return [
        *(_header(name, days if name.endswith("-day") else minutes, [200, 429]) for name in rates),
        _header("Retry-After", "Seconds until the request can succeed.", [409, 429, 502, 503]),
        _header("x-should-retry", "`false` where SDKs would try again too early.", [402, 409, 429, 502]),
        _header(COST_HEADER, "What a whole answer cost, in Toman; of a repeat, the first one.", [200, 409]),
        _header(REPLAYED_HEADER, "`true` where this is the kept answer of an earlier request.", [200]),
        _header(ORIGINAL_HEADER, "Of a repeat, the id of the request that was charged.", [200, 409]),
        _header(LEFT_OUT_HEADER, "What of the request could not be passed on, if anything.", [200]),
    ]


def _header(name: str, description: str, statuses: list[int]) -> OpenApiParameter:
    return OpenApiParameter(
        name,
        str,
        OpenApiParameter.HEADER,
        description=description,
        response=statuses,
    )


IDS = [
    OpenApiParameter(name, str, OpenApiParameter.HEADER, description=description, response=True)
    for name, description in (
        ("x-request-id", "The request's id: on every response, in the usage log and on the statement."),
        (OWN_ID_HEADER, "The same, under a name that networks in between leave as it is."),
    )
]
CLIENT_ID = OpenApiParameter(
    CLIENT_REQUEST_ID,
    {"type": "string", "maxLength": CLIENT_REQUEST_ID_MAX, "pattern": "^[ -~]*$"},
    OpenApiParameter.HEADER,
    description="An id of your own, kept with the request and found in the usage log. Printable ASCII.",
)
IDEMPOTENCY_KEY = OpenApiParameter(
    claims.HEADER,
    {"type": "string", "minLength": 1, "maxLength": claims.KEY_MAX_CHARACTERS, "pattern": "^[ -~]+$"},
    OpenApiParameter.HEADER,
    description=f"A value of your own. For {claims.LIFE_HOURS} hours, requests of the account with the same value and "
    f"body are charged once; what a repeat gets is said at {settings.BASE_URL}/docs/billing/.",
)
HELLO = {"model": "MODEL_ID", "messages": [{"role": "user", "content": "Hello!"}]}
EVENTS = (
    'data: {"id":"chatcmpl-abc123","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"}}]}\n\n'
    'data: {"id":"chatcmpl-abc123","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}]}\n\n'
    "data: [DONE]\n\n"
)

COMPLETIONS = extend_schema(
    operation_id="createChatCompletion",
    summary="Create a chat completion",
    description="Creates a chat completion for the given messages: one object, or server-sent events with `stream`. "
    "A failure in the middle of a stream comes as an event with `error`, and nothing is charged.",
    tags=["Chat"],
    parameters=[*IDS, CLIENT_ID, IDEMPOTENCY_KEY, *_headers()],
    request={
        "application/json": OpenApiRequest(
            ref("ChatCompletionRequest"),
            examples=[
                OpenApiExample("whole", value=HELLO),
                OpenApiExample(
                    "streamed", value={**HELLO, "stream": True, "stream_options": {"include_usage": True}}
                ),
            ],
        )
    },
    responses={
        (200, "application/json"): OpenApiResponse(
            ref("ChatCompletion"),
            description="A chat completion, or the events of one: chunks, then `[DONE]`.",
            examples=[OpenApiExample("whole", value=samples.answer("MODEL_ID", starter.PRICE))],
        ),
        (200, "text/event-stream"): OpenApiResponse(
            {
                "type": "string",
                "description": "Events `data: …`, each a ChatCompletionChunk (or an Error), at the end `data: [DONE]`.",
            },
            examples=[OpenApiExample("streamed", value=EVENTS, media_type="text/event-stream")],
        ),
        **_refusals(OF_COMPLETIONS),
    },
)
MODELS = extend_schema(
    operation_id="listModels",
    summary="List the models on sale",
    description="The models that a request can name, by ID.",
    tags=["Models"],
    parameters=IDS,
    responses={
        200: OpenApiResponse(ref("ModelList"), description="The models on sale."),
        **_refusals(OF_EVERY_OPERATION),
    },
)
MODEL = extend_schema(
    operation_id="retrieveModel",
    summary="Retrieve one model",
    description="One of the models on sale.",
    tags=["Models"],
    parameters=[
        *IDS,
        OpenApiParameter(
            "model_id",
            str,
            OpenApiParameter.PATH,
            description="The model's ID; its slashes stay as they are.",
        ),
    ],
    responses={
        200: OpenApiResponse(ref("Model"), description="The model."),
        **_refusals((*OF_EVERY_OPERATION, "model_not_found", "model_not_allowed")),
    },
)


class CompletionsExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    target_class = "proxy.api.chat_completions.view.ChatCompletions"

    def view_replacement(self) -> Any:
        return extend_schema_view(post=COMPLETIONS)(type("ChatCompletions", (self.target,), {}))


def _extend(operation: Operation) -> None:
    def view_replacement(self: Any) -> Any:
        codes = [code for code in OF_COMPLETIONS if code not in operation.not_refused_by]
        refusals = _refusals(codes, is_anthropics=operation.is_anthropics)
        of_charge = [CLIENT_ID, IDEMPOTENCY_KEY] if operation.is_charged else []
        schema = operation.schema([*IDS, *of_charge, *_headers()], refusals)
        return extend_schema_view(post=schema)(type(operation.name, (self.target,), {}))

    # drf-spectacular finds its extensions by their being classes.
    members = {"target_class": operation.target, "view_replacement": view_replacement}
    type(f"{operation.name}Extension", (OpenApiViewExtension,), members)


for each in OPERATIONS:
    _extend(each)


def _extend_reading(reading: Reading) -> None:
    def view_replacement(self: Any) -> Any:
        common = [code for code in OF_READINGS if reading.needs_key or code not in {*OF_KEYS, *OF_ACCOUNTS}]
        schema = reading.schema(IDS, _refusals([*common, *reading.refused_by]))
        return extend_schema_view(**{reading.method: schema})(type(reading.name, (self.target,), {}))

    members = {"target_class": reading.target, "view_replacement": view_replacement}
    type(f"{reading.name}Extension", (OpenApiViewExtension,), members)


for reading in READINGS:
    _extend_reading(reading)


def _extend_managing(target: str, operations: Sequence[Managing]) -> None:
    name = target.rpartition(".")[2]

    def view_replacement(self: Any) -> Any:
        schemas = {each.method: each.schema(IDS, _refusals) for each in operations}
        return extend_schema_view(**schemas)(type(name, (self.target,), {}))

    members = {"target_class": target, "view_replacement": view_replacement}
    type(f"Manage{name}Extension", (OpenApiViewExtension,), members)


for target, of_target in MANAGING.items():
    _extend_managing(target, of_target)


class ModelsExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    target_class = "proxy.api.models.Models"

    def view_replacement(self) -> Any:
        return extend_schema_view(get=MODELS)(type("Models", (self.target,), {}))


class ModelExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    target_class = "proxy.api.models.Model"

    def view_replacement(self) -> Any:
        return extend_schema_view(get=MODEL)(type("Model", (self.target,), {}))
