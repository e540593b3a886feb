"""Answers to a request for embeddings: what they are and what was used. The vectors pass as they came. Pure."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from proxy.api.chat_completions.answers import decode, encode
from proxy.catalogue.prices.pricing import COMPLETION_PARTS
from proxy.catalogue.tokens import TextSize
from proxy.metering import purchase, reported_usage
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report
from proxy.upstreams.errors import error_of

NO_VECTOR = frozenset({b"null", b"[]", b'""', b"{}"})
EMPTY_BYTES = max(map(len, NO_VECTOR))


class Datum(msgspec.Struct, gc=False):
    embedding: msgspec.Raw


_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_data = msgspec.json.Decoder(list[Datum]).decode


@dataclass(frozen=True, slots=True)
class EmbeddingsAnswer:
    """`members` are those of the answer as they came, `beside` those beside `data`, decoded."""

    members: dict[str, msgspec.Raw]
    beside: dict[str, Any]
    report: Report | None
    model: str

    @property
    def size(self) -> TextSize:
        """Nothing is made that is billed."""
        return TextSize()

    def for_customer(self, bill: Bill) -> bytes:
        """The answer as upstream gave it, with the name that was asked for and what it cost."""
        usage = reported_usage.for_customers(self.report.said if self.report else None, bill)
        del usage["completion_tokens"]
        changes = {**purchase.changes(self.beside), "usage": usage, "model": self.model}
        kept = {name: value for name, value in self.members.items() if changes.get(name) is not ...}
        written = {name: msgspec.Raw(encode(value)) for name, value in changes.items() if value is not ...}
        return msgspec.json.encode({**kept, **written})


def read_answer(body: bytes, *, model: str, inputs: int) -> EmbeddingsAnswer:
    """Raises BadAnswer for what is no answer to so many inputs."""
    try:
        members = _decode_members(body)
    except (msgspec.MsgspecError, RecursionError):
        members = {}
    if "data" not in members:
        raise BadAnswer("no embeddings", error=error_of(decode(body)))
    beside = {name: decode(bytes(value)) for name, value in members.items() if name != "data"}
    if (error := error_of(beside)) is not None:
        raise BadAnswer("an error in a 200 answer", error=error)
    try:
        data = _decode_data(members["data"])
    except (msgspec.MsgspecError, RecursionError):
        raise BadAnswer("no embeddings") from None
    if len(data) < inputs or any(map(_is_empty, data)):
        raise BadAnswer("fewer embeddings than inputs")
    return EmbeddingsAnswer(members, beside, _report(beside), model)


def _is_empty(datum: Datum) -> bool:
    written = memoryview(datum.embedding)  # no copy of a long one
    return len(written) <= EMPTY_BYTES and bytes(written) in NO_VECTOR


def _report(answer: dict[str, Any]) -> Report | None:
    """What went in. Some upstreams report that as the total alone; none makes anything that is billed."""
    said = answer.get("usage")
    if not isinstance(said, dict):
        return None
    told = {name: value for name, value in said.items() if value is not None}
    told = {"prompt_tokens": told.pop("total_tokens", None), **told, "completion_tokens": 0}
    report = reported_usage.report_of({**answer, "usage": told})
    if report is None:
        return None
    usage = replace(report.usage, completion_tokens=0, **dict.fromkeys(COMPLETION_PARTS, 0))
    return replace(report, usage=usage, said=said)
