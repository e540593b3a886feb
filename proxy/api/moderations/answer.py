"""Answers to a request for moderation: a result for each input, which passes as it came. Pure."""

from dataclasses import dataclass
from typing import Any, ClassVar

from proxy.api.chat_completions.answers import decode, edited
from proxy.catalogue.quirks import dicts
from proxy.catalogue.tokens import TextSize
from proxy.metering import purchase
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.upstreams.errors import error_of


@dataclass(frozen=True, slots=True)
class ModerationsAnswer:
    report: ClassVar = None  # it is billed by the request, whatever tokens upstream may count

    body: bytes
    answer: dict[str, Any]
    model: str

    @property
    def size(self) -> TextSize:
        """Nothing is made that is billed."""
        return TextSize()

    def for_customer(self, bill: Bill) -> bytes:
        """The answer as upstream gave it, with the name that was asked for. What it cost stands in the header."""
        changes = {**purchase.changes(self.answer), "model": self.model}
        if isinstance(said := self.answer.get("usage"), dict):
            changes["usage"] = purchase.without(said)
        return edited(self.body, self.answer, changes)


def read_answer(body: bytes, *, model: str) -> ModerationsAnswer:
    """Raises BadAnswer."""
    answer = decode(body)
    if (error := error_of(answer)) is not None:
        raise BadAnswer("an error in a 200 answer", error=error)
    if not isinstance(answer, dict) or not dicts(answer.get("results")):
        raise BadAnswer("no results")
    edited(body, answer, {"model": model})  # what cannot be written must fail before it is paid for
    return ModerationsAnswer(body, answer, model)
