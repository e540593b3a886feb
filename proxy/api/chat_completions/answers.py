"""What upstreams' answers are: their text, how they end, their errors; and whole answers. Pure."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

import msgspec
import orjson

from proxy.api.chat_completions.repairs import repair_whole
from proxy.catalogue.tokens import TextSize
from proxy.metering import purchase, reported_usage
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report
from proxy.upstreams.errors import error_of

# Names for the same text: some upstreams send it under two of them.
REASONING = (
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "thinking",
    "thinking_content",
    "thought",
    "thoughts",
)
PART_TEXTS = ("text", "thinking", "reasoning", "summary", "refusal", "content")
PARTS_DEEP = 4  # how deep the text of a part may lie
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
# What other words mean; any that is neither here nor in FAILURES means that the answer ended as its model would.
OTHER_FINISH_REASONS = {
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "max_new_tokens": "length",
    "max_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
    "guardrail_intervened": "content_filter",
}
# Any word with one of these in it: `network_error` (Zhipu), `insufficient_system_resource` (DeepSeek).
FAILURES = re.compile(
    "error|fail|abort|cancel|time_?d?_?out|exception|unavailable|insufficient", re.IGNORECASE
)

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def decode(data: bytes) -> Any:
    """JSON, half a surrogate in its strings included, as models that are cut off write them. Raises BadAnswer."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\u" not in data:
            raise BadAnswer("not JSON") from None
    try:
        return json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadAnswer("not JSON") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def encode(value: Any) -> bytes:
    """Raises BadAnswer for what is nested deeper than can be written."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        pass
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError:
        raise BadAnswer("nested too deep") from None


def edited(data: bytes, decoded: dict[str, Any], changes: dict[str, Any]) -> bytes:
    """A JSON object with some of its members changed, or left out (`...`); the others stay byte for byte.

    Raises BadAnswer.
    """
    return _rewritten(_raw_members(data), decoded, changes)


def _rewritten(
    members: dict[str, msgspec.Raw] | None, decoded: dict[str, Any], changes: dict[str, Any]
) -> bytes:
    if members is None:
        return encode({name: value for name, value in {**decoded, **changes}.items() if value is not ...})
    members = members.copy()
    for name, value in changes.items():
        if value is ...:
            members.pop(name, None)
        else:
            members[name] = msgspec.Raw(encode(value))
    return msgspec.json.encode(members)


def _raw_members(data: bytes) -> dict[str, msgspec.Raw] | None:
    """None for what holds half a surrogate, or is nested too deep."""
    try:
        return _decode_members(data)
    except (msgspec.DecodeError, RecursionError):
        return None


def choices_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices")
    return [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []


def check_choice(choice: dict[str, Any]) -> None:
    """Raises BadAnswer for a choice that failed."""
    if error := choice.get("error"):
        raise BadAnswer("an error in a choice", error=error_of({"error": error}))
    finish = choice.get("finish_reason")
    if isinstance(finish, str) and finish not in FINISH_REASONS and FAILURES.search(finish):
        raise BadAnswer("a choice that failed")


def finish_reason(choice: dict[str, Any], *, calls: bool) -> str | None:
    """The one of OpenAI's five words for how a choice ended; None where it has not."""
    finish = str(choice.get("finish_reason") or "")
    if not finish:
        return None
    if finish in FINISH_REASONS:
        return finish
    known = OTHER_FINISH_REASONS.get(finish.lower())
    return known or ("tool_calls" if calls else "stop")


def said_in(choice: dict[str, Any], where: str) -> Iterable[str]:
    """What a choice says in its message or delta; or beside it, as in legacy completions."""
    message, beside = choice.get(where), choice.get("text")
    if beside is None and isinstance(message, dict) and _is_plain(message):
        return (message["content"],)
    return chain(texts(message), _part_texts(beside, PARTS_DEEP))


def _is_plain(message: dict[str, Any]) -> bool:
    """Whether it says nothing but a content that is a text: nearly every message."""
    if not isinstance(message.get("content"), str):
        return False
    return not any(map(message.get, message.keys() - {"content", "role"}))


def texts(message: Any) -> Iterator[str]:
    """What a message or a delta says: content, reasoning, transcripts, and the names and arguments of calls."""
    if not isinstance(message, dict):
        return
    yield from _part_texts(message.get("content"), PARTS_DEEP)
    reasoning = {"".join(_part_texts(part, PARTS_DEEP)) for name in REASONING if (part := message.get(name))}
    details = message.get("reasoning_details")
    reasoning.add("".join(_part_texts(details, PARTS_DEEP)))  # OpenRouter: the same once more, in parts
    yield from reasoning
    audio = message.get("audio")
    for text in (message.get("refusal"), audio.get("transcript") if isinstance(audio, dict) else None):
        if isinstance(text, str):
            yield text
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            yield from _function_texts(call.get("function") or call.get("custom") or call)
    yield from _function_texts(message.get("function_call"))


def _part_texts(part: Any, deep: int) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif deep and isinstance(part, list):
        for one in part:
            yield from _part_texts(one, deep - 1)
    elif deep and isinstance(part, dict):
        said = ("".join(_part_texts(part[name], deep - 1)) for name in PART_TEXTS if name in part)
        yield from dict.fromkeys(said)


def _function_texts(function: Any) -> Iterator[str]:
    if isinstance(function, dict):
        for name in ("name", "arguments", "input"):
            text = function.get(name)
            if isinstance(text, dict):  # as some engines give arguments
                yield encode(text).decode()
            elif isinstance(text, str):
                yield text


def makes_calls(message: Any) -> bool:
    return isinstance(message, dict) and bool(message.get("tool_calls"))


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A decoded whole answer and its `members` as they came: what it says it used, and how long its text is."""

    members: dict[str, msgspec.Raw] | None
    answer: dict[str, Any]
    report: Report | None
    size: TextSize
    repaired: bool
    model: str | None

    def for_customer(self, bill: Bill) -> bytes:
        """The answer as upstream gave it, with the name that was asked for and what it cost."""
        said = self.report.said if self.report else None
        changes = purchase.changes(self.answer)
        changes["usage"] = reported_usage.for_customers(said, bill)
        if self.model is not None and self.answer.get("model") is not None:
            changes["model"] = self.model
        if self.repaired:
            changes["choices"] = self.answer["choices"]
        return _rewritten(self.members, self.answer, changes)


def said_in_message(choice: dict[str, Any]) -> Iterable[str]:
    return said_in(choice, "message")


def whole_answer(
    body: bytes,
    *,
    model: str | None = None,
    repairs: bool = False,
    said: Callable[[dict[str, Any]], Iterable[str]] = said_in_message,
) -> ChatAnswer:
    """Reads a whole answer. `model`: the name that was asked for; `repairs`: see proxy.catalogue.quirks.

    `said`: what a choice says that is billed as output. Raises BadAnswer.
    """
    answer = decode(body)
    if (error := error_of(answer)) is not None:
        raise BadAnswer("an error in a 200 answer", error=error)
    if not isinstance(answer, dict):
        raise BadAnswer("no object")
    choices = choices_of(answer)
    report = reported_usage.report_of(answer) or reported_usage.combined(
        [report for choice in choices if (report := reported_usage.report_of(choice)) is not None]
    )
    size, begun, repaired = TextSize(), False, repairs
    for choice in choices:
        check_choice(choice)
        size.add(said(choice))
        size.deltas = 0  # it came as one
        begun = begun or any(choice.get(name) for name in ("message", "text", "finish_reason"))
        repaired = _repair_choice(choice) or repaired
    if not begun:
        raise BadAnswer("no choices")
    if repairs:
        repair_whole(answer)
    members = _raw_members(body)
    if repaired or members is None:
        encode(answer)  # what cannot be written must fail before it is paid for
    return ChatAnswer(members, answer, report, size, repaired, model)


def _repair_choice(choice: dict[str, Any]) -> bool:
    """Gives a finished choice one of OpenAI's words for its end, and takes usage out of it; whether it had to."""
    calls = makes_calls(choice.get("message"))
    word = finish_reason(choice, calls=calls) or ("tool_calls" if calls else "stop")
    repaired = choice.pop("usage", None) is not None
    if choice.get("finish_reason") != word:
        choice["finish_reason"] = word
        repaired = True
    return repaired
