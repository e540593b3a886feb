"""Answers of upstreams that speak Messages themselves: what they say, and whole ones. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proxy.api.chat_completions.answers import FAILURES, decode, edited, encode
from proxy.api.messages import usage
from proxy.catalogue.tokens import TextSize
from proxy.metering import purchase
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report, report_of
from proxy.upstreams.errors import error_of

STOP_REASONS = frozenset(
    {
        "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal",
        "model_context_window_exceeded",
    }
)  # fmt: skip
SAID = frozenset(
    {"content", "content_block", "delta"}
)  # where a message and its events have what the model says
# What of a block or a delta is no output that can be counted: encrypted, or not made by the model.
NOT_SAID = frozenset({"type", "id", "tool_use_id", "signature", "data", "citations", "citation", "caller"})


def said_in(block: dict[str, Any]) -> Iterator[str]:
    """What a block or a delta says: text, thinking, the name and input of a call, and whatever else it has."""
    for name, value in block.items():
        if name in NOT_SAID or not value:
            continue
        yield value if isinstance(value, str) else encode(value).decode()


def check_stop(reason: Any) -> None:
    """Raises BadAnswer for an answer that failed."""
    if isinstance(reason, str) and reason not in STOP_REASONS and FAILURES.search(reason):
        raise BadAnswer("an answer that failed")


def without_price(answer: dict[str, Any]) -> dict[str, Any]:
    """What to change in a message or an event, so that nothing beside its content tells of the operator's price."""
    changes = purchase.changes({name: value for name, value in answer.items() if name not in SAID})
    if isinstance(said := answer.get("usage"), dict) and (kept := purchase.without(said)) != said:
        changes["usage"] = kept
    return changes


@dataclass(frozen=True, slots=True)
class NativeAnswer:
    """See proxy/metering/endpoint.py. `body` is upstream's own."""

    body: bytes
    answer: dict[str, Any]
    report: Report | None
    size: TextSize
    model: str

    def for_customer(self, bill: Bill) -> bytes:
        said = self.report.said if self.report else None
        changes = without_price(self.answer) | {"model": self.model, "usage": usage.for_customers(bill, said)}
        return edited(self.body, self.answer, changes)


def whole_answer(body: bytes, *, model: str) -> NativeAnswer:
    """Raises BadAnswer."""
    answer = decode(body)
    if (error := error_of(answer)) is not None:
        raise BadAnswer("an error in a 200 answer", error=error)
    if not isinstance(answer, dict) or not isinstance(content := answer.get("content"), list):
        raise BadAnswer("no message")
    check_stop(answer.get("stop_reason"))
    if not content and not answer.get("stop_reason"):
        raise BadAnswer("a message of nothing")
    size = TextSize()
    size.add(text for block in content if isinstance(block, dict) for text in said_in(block))
    size.deltas = 0  # it came as one
    edited(body, answer, {})  # what cannot be written must fail before it is paid for
    return NativeAnswer(body, answer, report_of(answer), size, model)
