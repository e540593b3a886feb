"""What the sandbox upstream takes, and what it refuses as OpenAI does. Pure."""

import json
from typing import Any

# Each model, and what it answers.
MODELS = {
    "gemini-3.1-flash-lite-preview": "chat",
    "hamiran-completion": "completions",
    "hamiran-embedding": "embeddings",
    "hamiran-moderation": "moderations",
    "hamiran-image": "images",
    "hamiran-speech": "speech",
    "hamiran-transcription": "transcriptions",
}
STOPS_MAX = 4
WHOLE_NUMBERS = (
    ("n", 1, 128),
    ("max_tokens", 1, None),
    ("max_completion_tokens", 1, None),
    ("top_logprobs", 0, 20),
)
TEXT_PARTS = frozenset({"text", "refusal", None})


class Refused(Exception):
    """An error in OpenAI's shape, with its status."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        }


def read(raw: bytes, *, endpoint: str) -> dict[str, Any]:
    """A body for one of the models that answer at an endpoint. Raises Refused."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refused(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise Refused(400, "The body must be a JSON object.")
    check_model(body, endpoint=endpoint)
    return body


def check_model(body: dict[str, Any], *, endpoint: str) -> None:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refused(400, "you must provide a model parameter", param="model")
    if MODELS.get(model) != endpoint:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(404, message, param="model", code="model_not_found")


def check(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise Refused(400, "Invalid 'messages': expected a non-empty array of objects.", param="messages")
    check_numbers(body)
    if body.get("top_logprobs") is not None and body.get("logprobs") is not True:
        raise Refused(400, "'top_logprobs' is only allowed when 'logprobs' is enabled.", param="top_logprobs")
    if body.get("logprobs") is not None and not isinstance(body["logprobs"], bool):
        raise Refused(400, "Invalid type for 'logprobs': expected a boolean.", param="logprobs")
    stops(body)
    _check_parts(messages)
    check_stream_options(body)
    if body.get("tools") is not None:
        functions(body)


def check_numbers(body: dict[str, Any]) -> None:
    _check_number(body, "temperature", 0, 2)
    _check_number(body, "top_p", 0, 1)
    for name, minimum, maximum in WHOLE_NUMBERS:
        _check_number(body, name, minimum, maximum, whole=True)


def check_stream_options(body: dict[str, Any]) -> None:
    options = body.get("stream_options")
    if options is not None and (not isinstance(options, dict) or not body.get("stream")):
        message = "The 'stream_options' parameter is an object that is only allowed when 'stream' is enabled."
        raise Refused(400, message, param="stream_options")


def _check_number(
    body: dict[str, Any], name: str, minimum: int, maximum: int | None, *, whole: bool = False
) -> None:
    value = body.get(name)
    if value is None:
        return
    kind = "integer" if whole else "decimal"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        message = f"Invalid type for '{name}': expected {'an integer' if whole else 'a decimal'}."
        raise Refused(400, message, param=name, code="invalid_type")
    if value < minimum:
        message = f"Invalid '{name}': {kind} below minimum value."
        message += f" Expected a value >= {minimum}, but got {value} instead."
        raise Refused(400, message, param=name, code=f"{kind}_below_min_value")
    if maximum is not None and not value <= maximum:
        message = f"Invalid '{name}': {kind} above maximum value."
        message += f" Expected a value <= {maximum}, but got {value} instead."
        raise Refused(400, message, param=name, code=f"{kind}_above_max_value")


def stops(body: dict[str, Any]) -> list[str]:
    """What ends the answer where it would occur in it."""
    given = body.get("stop")
    if given is None:
        return []
    texts = given if isinstance(given, list) else [given]
    if len(texts) > STOPS_MAX or not all(isinstance(text, str) and text for text in texts):
        raise Refused(
            400,
            f"Invalid 'stop': expected a string or an array of at most {STOPS_MAX} strings.",
            param="stop",
        )
    return texts


def _check_parts(messages: list[dict[str, Any]]) -> None:
    for number, message in enumerate(messages):
        parts = message.get("content")
        for place, part in enumerate(parts if isinstance(parts, list) else ()):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in TEXT_PARTS:
                raise Refused(
                    400,
                    f"Invalid content type. {kind} is not supported by this model, which takes text only.",
                    param=f"messages[{number}].content[{place}].type",
                )


def functions(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Which to call: the one that was named, each of them where parallel calls are asked for, else the first."""
    tools = body["tools"]
    functions = [
        tool["function"]
        for tool in (tools if isinstance(tools, list) else [])
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    ]
    if not functions or not all(isinstance(function.get("name"), str) for function in functions):
        raise Refused(
            400, "Invalid 'tools': expected a non-empty array of functions with names.", param="tools"
        )
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        wanted = choice.get("function")
        name = wanted.get("name") if isinstance(wanted, dict) else None
        named = [function for function in functions if function["name"] == name]
        if not named:
            raise Refused(400, f"Invalid 'tool_choice': no function {name!r}.", param="tool_choice")
        return named
    return functions if body.get("parallel_tool_calls") is True else functions[:1]
