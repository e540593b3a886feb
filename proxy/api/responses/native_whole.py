"""A whole response of an upstream that speaks Responses itself. Pure."""

from dataclasses import dataclass
from typing import Any

from proxy.api.chat_completions.answers import decode, encode
from proxy.api.responses import shown
from proxy.api.responses.said import texts_of
from proxy.api.responses.usage import for_customers
from proxy.catalogue.tokens import TextSize
from proxy.metering import reported_usage
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report
from proxy.upstreams.errors import error_of

ENDED = frozenset({"completed", "incomplete"})
FAILED = frozenset({"failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class NativeAnswer:
    body: bytes
    answer: dict[str, Any]
    report: Report | None
    size: TextSize
    model: str

    def for_customer(self, bill: Bill) -> bytes:
        said = self.report.said if self.report else None
        return shown.response(self.body, self.answer, model=self.model, usage=for_customers(said, bill))


def native_answer(body: bytes, *, model: str) -> NativeAnswer:
    """Raises BadAnswer."""
    answer = decode(body)
    check(answer)
    if str(answer.get("status", "completed")) not in ENDED or not isinstance(answer.get("output"), list):
        raise BadAnswer("no response that has ended")
    encode(answer)  # what cannot be written must fail before it is paid for
    size = TextSize()
    size.add(text for number, item in enumerate(answer["output"]) for _place, text in texts_of(item, number))
    size.deltas = 0  # it came as one
    return NativeAnswer(body, answer, reported_usage.report_of(answer), size, model)


def check(answer: Any) -> None:
    """Raises BadAnswer for what is no response, or one that failed."""
    if not isinstance(answer, dict):
        raise BadAnswer("no object")
    if answer.get("object") != "response" and (error := error_of(answer)) is not None:
        raise BadAnswer("an error in a 200 answer", error=error)
    if (error := answer.get("error")) or str(answer.get("status")) in FAILED:
        raise BadAnswer("a response that failed", error=error_of({"error": error}) if error else None)
