"""What upstreams' errors look like, and whose fault they say it is. Pure."""

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from proxy.catalogue import quirks
from proxy.catalogue.quirks import Quirks
from proxy.upstreams import redaction

# Where errors of other shapes than OpenAI's have their words: vLLM, FastAPI, problem+json, and others.
WORDS = ("message", "detail", "msg", "error_message", "error_msg", "errorMessage", "title")
STATUS_NAMES = ("status_code", "status", "code", "http_status")
# Types of errors that come without a status, and the status each stands for.
TYPES = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "exceed_context_size_error": 400,
    "context_length_exceeded": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
}
DEPTH = 3  # errors are wrapped in errors: a gateway's around its provider's
RETRY_AFTER_MAX_SECONDS = 86_400
CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Fault(Enum):
    """Whose fault an error is. `FULL_CONTEXT` is a request's too; `LIMIT`: the upstream has had enough for now."""

    REQUEST = "request"
    FULL_CONTEXT = "full context"
    OPERATOR = "operator"
    LIMIT = "limit"
    UPSTREAM = "upstream"


# --- forms -----------------------------------------------------------------------------------------------------


def error_of(answer: Any, *, named: bool = False) -> dict[str, Any] | None:
    """The error in a decoded answer or event, with its words as `message`; None where it is no error.

    OpenAI's object; a plain string (Ollama); an array of either (Gemini); the object itself (vLLM); FastAPI's
    `detail`; problem+json. What an error wraps (`metadata.raw`, JSON as a string) is taken instead of the wrapping.
    `named`: it came in an event called error, which is one whatever it says.
    """
    found = _error_of(answer, DEPTH)
    return _error(answer, DEPTH) if found is None and named else found


def _error_of(answer: Any, depth: int) -> dict[str, Any] | None:
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if not isinstance(answer, dict):
        return None
    if answer.get("error"):
        beside = {name: answer[name] for name in STATUS_NAMES if name in answer}
        if "error_type" in answer:
            beside["type"] = answer["error_type"]
        return beside | _error(answer["error"], depth)
    if isinstance(answer.get("errors"), list) and answer["errors"]:
        return _error(answer["errors"][0], depth)
    if answer.get("choices") or ("choices" in answer and isinstance(answer.get("usage"), dict)):
        return None  # some servers say "Success" in every chunk
    if "error" in (answer.get("object"), answer.get("type")) or any(
        answer.get(name) for name in WORDS if name != "message"
    ):
        return _error(answer, depth)
    return _error(answer, depth) if isinstance(answer.get("message"), str) and answer["message"] else None


def _error(error: Any, depth: int) -> dict[str, Any]:
    """From the error itself, without what is around it."""
    if isinstance(error, str):
        inner = _decoded(error, depth)
        return {"message": error} if inner is None else inner
    if not isinstance(error, dict):
        return {"message": ""}
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    wrapped = _decoded(raw, depth) if raw else None
    if wrapped is None and isinstance(raw, str) and raw:
        wrapped = {"message": raw}
    if wrapped is None:
        words = next((error[name] for name in WORDS if error.get(name)), "")
        wrapped = _words(words, depth)
    return error | wrapped


def _words(words: Any, depth: int) -> dict[str, Any]:
    if isinstance(words, list):
        return _validation(words)
    if isinstance(words, dict) and depth:
        return _error_of(words, depth - 1) or {"message": ""}
    if not isinstance(words, str):
        return {"message": ""}
    return _decoded(words, depth) or {"message": words}


def _decoded(text: Any, depth: int) -> dict[str, Any] | None:
    """The error in a JSON text, or in a value that is decoded already."""
    if isinstance(text, str):
        if not depth or not text.lstrip().startswith(("{", "[")):
            return None
        try:
            text = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return _error_of(text, depth - 1) if depth else None


def _validation(faults: list[Any]) -> dict[str, Any]:
    """FastAPI's list of `{loc, msg}`: one sentence for each, and the first field as `param`."""
    told = []
    param = None
    for fault in faults[:10]:
        if isinstance(fault, dict) and isinstance(fault.get("msg"), str):
            where = [str(step) for step in fault.get("loc") or () if step != "body"]
            told.append(": ".join(filter(None, (".".join(where), fault["msg"]))))
            param = param or ".".join(where) or None
        elif isinstance(fault, str):
            told.append(fault)
    return {"message": "; ".join(told), "param": param}


def error_in(body: bytes) -> dict[str, Any]:
    """The error in the body of a failed answer; empty if nothing in it can be read."""
    try:
        return error_of(json.loads(body)) or {}
    except (ValueError, RecursionError):
        text = body.decode(errors="replace").strip()
        # Some servers refuse in plain text; a page is not read.
        return {} if not text or text[0] in "<{[" else {"message": text}


def status_of(error: dict[str, Any]) -> int | None:
    """The HTTP status that an error object names, or that its type stands for, as of those inside a 200."""
    for name in STATUS_NAMES:
        value = error.get(name)
        if isinstance(value, str) and re.fullmatch("[45][0-9]{2}", value):
            value = int(value)
        if type(value) is int and 400 <= value < 600:
            return value
    return next((TYPES[name] for name in _names(error) if name in TYPES), None)


# --- faults ----------------------------------------------------------------------------------------------------

# The operator's fault unless the words say otherwise: key, money, permission, address, model.
OPERATORS_STATUSES = frozenset({401, 402, 403, 404, 405, 407, 410})
# The upstream did not get or take the request in time.
UNTIMELY_STATUSES = frozenset({408, 425})
OPERATORS_CODES = frozenset(
    {
        "insufficient_quota", "invalid_api_key", "invalid_authentication", "authentication_error", "billing_error",
        "billing_hard_limit_reached", "billing_not_active", "account_deactivated", "access_terminated",
        "unsupported_country_region_territory", "model_not_found", "invalid_model", "model_not_supported",
        "unknown_model",
    }
)  # fmt: skip
UNKNOWN_MODEL = re.compile(
    r"invalid model(?: name|:)|not a valid model|unknown model|\bmodels?\b[\s/:=`'\"]{0,4}[\w./:@-]{0,120}[`'\"]?\s+"
    r"(?:is |was )?(?:does ?n.t exist|does not exist|not found|not exist|not available)",
    re.IGNORECASE,
)
# With any 4xx: the content was refused, not the operator.
CONTENT = re.compile(
    r"flagged|moderation|content[ _-]?(?:policy|filter|management|violat)|usage (?:polic|guideline)|safety"
    r"|prohibited|inappropriate|sensitive|violat|harmful|data_?inspection",
    re.IGNORECASE,
)
FULL_CONTEXT_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "contextwindowexceedederror", "context_window_exceeded"}
)  # fmt: skip
FULL_CONTEXT = re.compile(
    r"context[ _]?length[ _]?exceeded|context[ _]?window[ _]?exceeded|maximum (?:context|model|prompt|input) length"
    r"|(?:exceed|longer than)[^.]{0,80}(?:context (?:length|window|size)|maximum number of tokens|token limit)"
    r"|(?:exceed|longer than)[^.]{0,80}max length"
    r"|context window exceeds|available context size|(?:prompt|input) is too long|greater than the context length"
    r"|max_new_tokens\W{0,2} must be|\binputs\W{0,2} must have less than|range of input length"
    r"|too many tokens[^.]{0,80}prompt",
    re.IGNORECASE,
)


def fault_of(status: int, error: dict[str, Any], rules: Quirks) -> Fault:
    """Whose fault an error is, by its status and what it says of itself. `error` comes from `error_of`."""
    if status < 400 or status == 429:
        return Fault.UPSTREAM if status < 400 else Fault.LIMIT
    names = set(_names(error))
    words = redaction.bounded(_text(error.get("message")))
    if quirks.operators_fault(error, rules) is not None:
        return Fault.OPERATOR
    if names & FULL_CONTEXT_CODES or FULL_CONTEXT.search(words):
        return Fault.FULL_CONTEXT
    if (status >= 500 or status == 404) and quirks.is_requests_fault(words, rules):
        return Fault.REQUEST
    if status >= 500 or status in UNTIMELY_STATUSES:
        return Fault.UPSTREAM
    return Fault.OPERATOR if _is_operators(status, words, names) else Fault.REQUEST


def _is_operators(status: int, words: str, names: set[str]) -> bool:
    others = redaction.without_account(words)
    if names & OPERATORS_CODES or UNKNOWN_MODEL.search(words) or (words and not others):
        return True
    return status in OPERATORS_STATUSES and not CONTENT.search(" ".join((others, *names)))


def _names(error: dict[str, Any]) -> Iterator[str]:
    return (value.lower() for name in ("code", "type") if isinstance(value := error.get(name), str))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# --- waits -----------------------------------------------------------------------------------------------------


def retry_after_seconds(header: str, error: dict[str, Any], *, now: datetime) -> int | None:
    """How long to wait: what Retry-After says in seconds or as a date, else Gemini's RetryInfo. At least 1, or None."""
    details = error.get("details")
    delays = [
        detail["retryDelay"]
        for detail in (details if isinstance(details, list) else ())
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str)
    ]
    delay = delays[0].removesuffix("s") if delays else ""
    for text in (header.strip(), delay):
        seconds = _seconds(text, now)
        if seconds is not None and seconds <= RETRY_AFTER_MAX_SECONDS:
            return max(1, math.ceil(seconds))
    return None


def _seconds(text: str, now: datetime) -> float | None:
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", text):
        return float(text)
    if not text or len(text) > 64:
        return None
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, (when - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one without a zone
        return None
