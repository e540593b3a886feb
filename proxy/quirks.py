"""How kinds of upstreams differ from OpenAI's own, as one table of declared rules. Pure."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

# What bounds an answer, bills it or chooses its form: always sent on.
NEEDED_FIELDS = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"}
)
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class UnknownKind(LookupError):
    """An upstream of a kind that has no rules here."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """`strip_fields`: top-level request fields that are left out. `mends_answers`: see ChunkMender.

    `operators_faults`: what a refusal of a request names as its status or reason when the operator is at fault.
    `reports_one_choice`: of an answer with several choices, its usage tells of one alone.
    """

    strip_fields: frozenset[str] = frozenset()
    mends_answers: bool = False
    operators_faults: frozenset[str] = frozenset()
    reports_one_choice: bool = False


# By Upstream.kind.
QUIRKS = {
    "openai": Quirks(),
    "gemini": Quirks(
        # It answers 400 to these. Only what SDKs and frameworks send by themselves, or what merely tunes an answer:
        # a field whose absence would change an answer's form (`logprobs`) stays, and is refused honestly.
        strip_fields=frozenset(
            {
                "store", "metadata", "user", "service_tier", "safety_identifier", "prompt_cache_key",
                "prompt_cache_retention", "prediction", "verbosity", "seed", "logit_bias", "frequency_penalty",
                "presence_penalty", "repetition_penalty", "top_k", "min_p", "reasoning",
            }
        ),
        mends_answers=True,
        # All with 400: a wrong key (its `status` is that of any bad request), and a country or an account that is
        # not served.
        operators_faults=frozenset({"API_KEY_INVALID", "FAILED_PRECONDITION"}),
    ),
}  # fmt: skip


def field_names(text: str) -> list[str]:
    """The names in a text, with commas or spaces between them."""
    return text.replace(",", " ").split()


def unfit_fields(text: str) -> list[str]:
    """Those of `field_names` that are no plain names, or that are needed."""
    return [name for name in field_names(text) if name in NEEDED_FIELDS or FIELD_NAME.fullmatch(name) is None]


def of(*, kind: str, strip_fields: str) -> Quirks:
    """The rules of one upstream: those of its kind, and the fields that its admin named. Raises UnknownKind."""
    rules = QUIRKS.get(kind)
    if rules is None:
        raise UnknownKind(f"its kind {kind!r} is unknown to this version")
    more = frozenset(field_names(strip_fields)) - NEEDED_FIELDS
    return replace(rules, strip_fields=rules.strip_fields | more) if more else rules


def operators_fault(error: dict[str, Any], rules: Quirks) -> str | None:
    """Which of the operator's faults a decoded error object names, by its status or by a reason in its details."""
    named = [error.get("status"), *(detail.get("reason") for detail in _dicts(error.get("details")))]
    return next((name for name in named if isinstance(name, str) and name in rules.operators_faults), None)


@dataclass(slots=True)
class ChunkMender:
    """Gives a stream's chunks the form that OpenAI's SDKs can put together again.

    Gemini's endpoint leaves `index` out of tool deltas, or repeats one for calls side by side; may end an answer that
    makes calls with `stop`; and gives every delta a `role`, which SDKs string together. One object sees all chunks
    of one answer.
    """

    _calls: dict[Any, list[Any]] = field(default_factory=dict)  # ids of the calls so far, in order, by choice

    def mend(self, chunk: dict[str, Any]) -> bool:
        """Mends a decoded chunk in place; false where nothing was to be done."""
        mended = False
        for choice in _dicts(chunk.get("choices")):
            number = choice.get("index") if isinstance(choice.get("index"), int) else 0
            delta = choice.get("delta")
            if isinstance(delta, dict):
                if number in self._calls and delta.pop("role", None) is not None:
                    mended = True
                calls = self._calls.setdefault(number, [])
                for call in _dicts(delta.get("tool_calls")):
                    mended |= _number(call, calls)
            if choice.get("finish_reason") == "stop" and self._calls.get(number):
                choice["finish_reason"] = "tool_calls"
                mended = True
        return mended


def mend_whole(answer: dict[str, Any]) -> None:
    """Mends a decoded whole answer in place."""
    for choice in _dicts(answer.get("choices")):
        message = choice.get("message")
        if choice.get("finish_reason") == "stop" and isinstance(message, dict) and message.get("tool_calls"):
            choice["finish_reason"] = "tool_calls"


def _number(call: dict[str, Any], ids: list[Any]) -> bool:
    """Numbers one delta of a call: by its id, else by the number it came with, else as more of the last call."""
    given, call_id, function = call.get("index"), call.get("id"), call.get("function")
    named = bool(function.get("name")) if isinstance(function, dict) else False
    if call_id and call_id in ids:
        number = ids.index(call_id)
    elif call_id or named or not ids:
        number = len(ids)
        ids.append(call_id)
    else:
        number = given if isinstance(given, int) and 0 <= given < len(ids) else len(ids) - 1
    if given == number:
        return False
    call["index"] = number
    return True


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
