"""Chat's answers as Messages: whole, and event by event in the order that official SDKs need. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from proxy.api.chat_completions import plain_chunks
from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.api.chat_completions.answers import ChatAnswer, choices_of, encode
from proxy.api.chat_pieces import Arguments, Call, Finish, Piece, Reasoning, Refusal, Text, of_message, pieces
from proxy.api.messages import errors, events, usage
from proxy.api.messages.call_ids import call_id
from proxy.catalogue.tokens import TextSize
from proxy.errors import APIError
from proxy.metering.bill import Bill
from proxy.metering.reported_usage import Report

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
# Where engines say which stop sequence ended a choice: vLLM, SGLang.
STOPPED_BY = ("stop_reason", "matched_stop")
NOT_AN_OBJECT = "arguments"  # under which a call's arguments stand that are no object


def stop_reason(finish: str, *, calls: bool, stopped_by: str | None) -> str:
    """`calls`: whether the answer calls tools; one of these two without the other stops agents."""
    if calls:
        return "max_tokens" if finish == "length" else "tool_use"
    if stopped_by is not None and finish == "stop":
        return "stop_sequence"
    reason = STOP_REASONS.get(finish, "end_turn")
    return "end_turn" if reason == "tool_use" else reason


def stopped_by(choice: dict[str, Any], stops: Iterable[str]) -> str | None:
    return next(
        (said for name in STOPPED_BY if isinstance(said := choice.get(name), str) and said in stops), None
    )


# --- whole -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TranslatedAnswer:
    """See proxy/metering/endpoint.py."""

    report: Report | None
    size: TextSize
    message: dict[str, Any]

    def for_customer(self, bill: Bill) -> bytes:
        return encode({**self.message, "usage": usage.for_customers(bill)})


def translated(answer: ChatAnswer, *, model: str, stops: frozenset[str]) -> TranslatedAnswer:
    choice = choices_of(answer.answer)[0]
    said = list(of_message(choice.get("message")))
    content = list(_blocks(said))
    sequence = stopped_by(choice, stops)
    reason = stop_reason(
        choice.get("finish_reason") or "stop",
        calls=any(block["type"] == "tool_use" for block in content),
        stopped_by=sequence,
    )
    message = {
        "id": events.new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence if reason == "stop_sequence" else None,
    }
    encode(message)  # what cannot be written must fail before it is paid for
    return TranslatedAnswer(answer.report, answer.size, message)


def _blocks(said: list[Piece]) -> Iterator[dict[str, Any]]:
    """Thinking first, then what is said, then the calls."""
    if thinking := "".join(piece.text for piece in said if isinstance(piece, Reasoning)):
        yield {"type": "thinking", "thinking": thinking, "signature": ""}
    if text := "".join(piece.text for piece in said if isinstance(piece, Text | Refusal)):
        yield {"type": "text", "text": text}
    for call, arguments in _calls(said):
        yield {
            "type": "tool_use",
            "id": call_id(call.extra),
            "name": call.name,
            "input": _input(arguments),
        }


def _calls(said: list[Piece]) -> Iterator[tuple[Call, str]]:
    """Each with its arguments, which follow it: whatever their indexes say."""
    calls: list[tuple[Call, list[str]]] = []
    for piece in said:
        if isinstance(piece, Call):
            calls.append((piece, []))
        elif isinstance(piece, Arguments) and calls:
            calls[-1][1].append(piece.text)
    return ((call, "".join(arguments)) for call, arguments in calls)


def _input(arguments: str) -> dict[str, Any]:
    """An object, whatever a model has written."""
    if not arguments.strip():
        return {}
    try:
        read = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {NOT_AN_OBJECT: arguments}
    return read if isinstance(read, dict) else {NOT_AN_OBJECT: arguments}


# --- streamed ----------------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class _OpenCall:
    """A call, with as much of its arguments as waits until the one before it is told."""

    call: Call
    arguments: list[str] = field(default_factory=list)


class ChatAsMessages(AnswerStream):
    """Chat's stream, with what is relayed of it as events of a Messages stream.

    One block at a time: calls side by side wait for the end of the first, and so does text between them. `stops`:
    the stop sequences that were asked for.
    """

    def __init__(
        self,
        *,
        model: str,
        stops: frozenset[str],
        request_id: str,
        repairs: bool = False,
        output_bound: int = 0,
    ) -> None:
        super().__init__(include_usage=False, repairs=repairs, output_bound=output_bound)
        self._asked = model
        self._stops = stops
        self._request_id = request_id
        self._made: list[bytes] = []  # events to relay
        self._has_started = False
        self._index = -1
        self._block = ""  # the type of the one that is open
        self._calls: dict[int, _OpenCall] = {}  # the last one of each index
        self._open_call: _OpenCall | None = None
        self._held_calls: list[_OpenCall] = []
        self._held_texts: list[Text | Reasoning] = []
        self._finish = "stop"
        self._stopped_by: str | None = None

    def feed(self, chunk: bytes) -> bytes:
        super().feed(chunk)
        return self._taken()

    def allow(self, output: int | None) -> bytes:
        super().allow(output)
        return self._taken()

    def end(self) -> bytes:
        super().end()
        return self._taken()

    def alive(self) -> bytes:
        return events.PING

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        self._tell(pieces(super().tail(bill)))
        self._made += self._finish_blocks()
        reason = stop_reason(self._finish, calls=bool(self._calls), stopped_by=self._stopped_by)
        delta = {
            "stop_reason": reason,
            "stop_sequence": self._stopped_by if reason == "stop_sequence" else None,
        }
        last = events.event({"type": "message_delta", "delta": delta, "usage": usage.for_customers(bill)})
        return self._taken() + last + (events.MESSAGE_STOP if refused is None else self.failed(refused))

    def failed(self, error: APIError) -> bytes:
        return errors.event(error, request_id=self._request_id)

    # --- what is read of the chat ------------------------------------------------------------------------------

    def _plain(self, event: bytes, data: bytes) -> bytes | None:
        try:
            choice = plain_chunks.decode(data).choices[0]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        delta = choice.delta
        said = delta.texts()
        if said and not self._has_room(said):
            return b""
        self._begun.add(choice.index)
        if reasoning := delta.reasoning_content or delta.reasoning:
            self._tell((Reasoning(reasoning),))
        self._tell((Text(delta.content),) if delta.content else ())
        return b""

    def _chunk(self, event: bytes, data: bytes, chunk: dict[str, Any]) -> bytes:
        relayed = super()._chunk(event, data, chunk)
        if self.begun:
            self._tell(pieces(relayed))
        return b""

    def _read_choices(self, choices: list[dict[str, Any]]) -> bool:
        for choice in choices:
            self._stopped_by = stopped_by(choice, self._stops) or self._stopped_by
        return super()._read_choices(choices)

    # --- events ------------------------------------------------------------------------------------------------

    def _taken(self) -> bytes:
        made, self._made = self._made, []
        return b"".join(made)

    def _tell(self, said: Iterable[Piece]) -> None:
        if not self._has_started:
            self._has_started = True
            self._made.append(events.message_start(self._asked))
        for piece in said:
            self._made += self._events(piece)

    def _events(self, piece: Piece) -> Iterator[bytes]:
        match piece:
            case Text() | Refusal():
                yield from self._say(Text(piece.text))
            case Reasoning():
                yield from self._say(piece)
            case Call():
                yield from self._call(piece)
            case Arguments(index, text):
                if (call := self._calls.get(index)) is None:
                    return
                if call is self._open_call:
                    yield events.input_delta(self._index, text)
                else:
                    call.arguments.append(text)
            case Finish(reason):
                self._finish = reason
                yield from self._finish_blocks()

    def _say(self, piece: Text | Reasoning) -> Iterator[bytes]:
        if self._open_call is not None:
            self._held_texts.append(piece)
            return
        if isinstance(piece, Text):
            if self._block != "text":
                yield from self._open({"type": "text", "text": ""})
            yield events.text_delta(self._index, piece.text)
        else:
            if self._block != "thinking":
                yield from self._open({"type": "thinking", "thinking": "", "signature": ""})
            yield events.thinking_delta(self._index, piece.text)

    def _call(self, call: Call) -> Iterator[bytes]:
        known = self._calls.get(call.index)
        if known is not None and (not call.id or call.id == known.call.id):
            return  # some upstreams repeat the name in every delta
        opened = self._calls[call.index] = _OpenCall(call)
        if self._open_call is None:
            yield from self._open_tool(call)
            self._open_call = opened
        else:
            self._held_calls.append(opened)

    def _open_tool(self, call: Call) -> Iterator[bytes]:
        yield from self._open({"type": "tool_use", "id": call_id(call.extra), "name": call.name, "input": {}})

    def _open(self, block: dict[str, Any]) -> Iterator[bytes]:
        yield from self._close()
        self._index += 1
        self._block = block["type"]
        yield events.block_start(self._index, block)

    def _close(self) -> Iterator[bytes]:
        if self._block:
            self._block = ""
            yield events.block_stop(self._index)

    def _finish_blocks(self) -> Iterator[bytes]:
        """What was held back, one after the other."""
        self._open_call = None
        calls, self._held_calls = self._held_calls, []
        for held in calls:
            yield from self._open_tool(held.call)
            if held.arguments:
                yield events.input_delta(self._index, "".join(held.arguments))
        texts, self._held_texts = self._held_texts, []
        for piece in texts:
            yield from self._say(piece)
        yield from self._close()
