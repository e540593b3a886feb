"""Responses that are made of a chat's answers: the stream, and the whole. Pure."""

from dataclasses import dataclass

from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.api.chat_completions.answers import ChatAnswer, choices_of
from proxy.api.chat_pieces import Finish, of_message, pieces
from proxy.api.responses import usage
from proxy.api.responses.failures import failure
from proxy.api.responses.writer import Writer
from proxy.catalogue.tokens import TextSize
from proxy.errors import APIError
from proxy.metering.bill import Bill
from proxy.metering.reported_usage import Report


class TranslatedStream(AnswerStream):
    """What a chat's stream relays goes out as a response's events; everything else about it is the chat's."""

    def __init__(self, writer: Writer, *, model: str, repairs: bool, output_bound: int) -> None:
        super().__init__(include_usage=False, model=model, repairs=repairs, output_bound=output_bound)
        self._writer = writer

    def feed(self, chunk: bytes) -> bytes:
        return self._translated(super().feed(chunk))

    def allow(self, output: int | None) -> bytes:
        return self._translated(super().allow(output))

    def end(self) -> bytes:
        return self._translated(super().end())

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        ended = self._translated(super().tail(bill))
        error = None if refused is None else failure(refused)
        return ended + self._writer.finish(usage.for_customers(None, bill), error)

    def failed(self, error: APIError) -> bytes:
        return self._writer.fail(failure(error))

    def _translated(self, relayed: bytes) -> bytes:
        writer = self._writer
        if writer.has_begun and not relayed:
            return b""
        events = b""
        if relayed.startswith(b":") or b"\n\n:" in relayed:
            comments = [event for event in relayed.split(b"\n\n") if event.startswith(b":")]
            events = b"\n\n".join([*comments, b""])
        if self.begun:
            events += writer.begin()
        return events + b"".join([writer.add(piece) for piece in pieces(relayed)])


@dataclass(frozen=True, slots=True)
class TranslatedAnswer:
    """A whole answer of a chat, as a response that lacks nothing but its bill."""

    report: Report | None
    size: TextSize
    writer: Writer

    def for_customer(self, bill: Bill) -> bytes:
        return self.writer.whole(usage.for_customers(None, bill))


def translated_answer(answer: ChatAnswer, writer: Writer) -> TranslatedAnswer:
    """Raises BadAnswer for what cannot be written."""
    for choice in choices_of(answer.answer)[:1]:
        for piece in of_message(choice.get("message")):
            writer.add(piece)
        writer.add(Finish(str(choice.get("finish_reason") or "stop")))
    writer.close()
    writer.whole({})
    return TranslatedAnswer(answer.report, answer.size, writer)
