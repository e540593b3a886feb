"""Writes a response out of the pieces of a chat's answer: its events in order, and the response itself. Pure.

The items of one answer follow each other: a thought, a text; calls stay open to the end, as chat may mix their
arguments.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.api.chat_completions.answers import encode
from proxy.api.chat_pieces import Arguments, Call, Finish, Piece, Reasoning, Refusal, Text
from proxy.api.responses.part_forms import REASONING, REFUSAL, SUMMARY, TEXT, PartForm
from proxy.api.responses_to_chat.items import sealed
from proxy.api.responses_to_chat.tools import Called, custom_input

IN_PROGRESS, COMPLETED, INCOMPLETE, FAILED = "in_progress", "completed", "incomplete", "failed"
INCOMPLETE_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(slots=True)
class OpenPart:
    """An item of one text, as it comes. `delta_head`: all of a delta's event but its number and its text."""

    form: PartForm
    item: dict[str, Any]
    output_index: int
    texts: list[str] = field(default_factory=list)
    delta_head: bytes = b""


@dataclass(slots=True)
class OpenCall:
    """`given_id`: upstream's."""

    item: dict[str, Any]
    output_index: int
    given_id: str
    is_custom: bool
    arguments: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a response says again of its request, and what it needs of it.

    `called`: see ChatBody; `call_ids`: those that the conversation has. `as_summary`: what the model thinks goes back
    as a summary; `seals`: it is also to be carried back by the client.
    """

    model: str
    echo: Mapping[str, msgspec.Raw]
    called: Mapping[str, Called] = field(default_factory=dict)
    call_ids: frozenset[str] = frozenset()
    as_summary: bool = False
    seals: bool = False


class Writer:
    """`add` and the others give the events to send; `whole` the response, when it has ended."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._id = uuid.uuid4().hex
        self._created_at = int(time.time())
        self._sequence = 0
        self._output: dict[int, dict[str, Any]] = {}
        self._items = 0
        self._open: OpenPart | None = None
        self._calls: dict[int, OpenCall] = {}
        self._all_calls: list[OpenCall] = []
        self._call_ids = set(asked.call_ids)
        self._finish = ""
        self.has_begun = False

    def begin(self) -> bytes:
        if self.has_begun:
            return b""
        self.has_begun = True
        return self._event("response.created", response=self._response(IN_PROGRESS))

    def add(self, piece: Piece) -> bytes:
        match piece:
            case Text():
                return self._text(TEXT, piece.text)
            case Reasoning():
                return self._text(SUMMARY if self._asked.as_summary else REASONING, piece.text)
            case Refusal():
                return self._text(REFUSAL, piece.text)
            case Call():
                return self._call(piece)
            case Arguments():
                return self._arguments(piece.index, piece.text)
            case Finish():
                self._finish = piece.reason
        return b""

    def finish(self, usage: dict[str, Any], error: dict[str, Any] | None = None) -> bytes:
        """The last events. `error`: why it does not go on, where it was paid for so far."""
        events = self.begin() + self.close()
        status = FAILED if error else self.status
        return events + self._event(f"response.{status}", response=self._response(status, usage, error))

    def fail(self, error: dict[str, Any]) -> bytes:
        """The last event of one that is not paid for."""
        return self.begin() + self._event("response.failed", response=self._response(FAILED, None, error))

    def whole(self, usage: dict[str, Any]) -> bytes:
        return msgspec.json.encode(self._response(self.status, usage))

    @property
    def status(self) -> str:
        return INCOMPLETE if self._finish in INCOMPLETE_REASONS else COMPLETED

    def close(self) -> bytes:
        """Ends what is open."""
        status = self.status
        events = self._end_part(status)
        for call in self._all_calls:
            events += self._end_call(call, status)
        self._calls, self._all_calls = {}, []
        return events

    # --- texts ----------------------------------------------------------------------------------------------------

    def _text(self, form: PartForm, text: str) -> bytes:
        part, events = self._open, b""
        if part is None or part.form is not form:
            events = self._end_part(COMPLETED)
            part, begun = self._begin_part(form)
            events += begun
        part.texts.append(text)
        number, self._sequence = self._sequence, self._sequence + 1
        return b'%b%b,"sequence_number":%d,"delta":%b}\n\n' % (events, part.delta_head, number, encode(text))

    def _begin_part(self, form: PartForm) -> tuple[OpenPart, bytes]:
        item: dict[str, Any] = {"id": f"{form.id_prefix}_{self._id}{self._items}", "type": form.item}
        if form.item == "message":
            item |= {"status": IN_PROGRESS, "role": "assistant", "content": []}
        else:
            item |= {"summary": [], "encrypted_content": None}
            if form is REASONING:
                item["content"] = []
        part = self._open = OpenPart(form, item, self._items)
        self._items += 1
        kind = f"{form.events}.delta"
        head = {"type": kind, **self._place(part), **form.delta_extras}
        part.delta_head = b"event: %b\ndata: %b" % (kind.encode(), encode(head)[:-1])
        empty = {"type": form.part, form.text: "", **form.extras}
        return part, self._event(
            "response.output_item.added", output_index=part.output_index, item=item
        ) + self._part_event(part, form.added, part=empty)

    def _end_part(self, status: str) -> bytes:
        part, self._open = self._open, None
        if part is None:
            return b""
        form, text = part.form, "".join(part.texts)
        written = {"type": form.part, form.text: text, **form.extras}
        item = {**part.item, form.place: [written]}
        if form.item == "message":
            item["status"] = status
        elif self._asked.seals:
            item["encrypted_content"] = sealed(text)
        self._output[part.output_index] = item
        return (
            self._part_event(part, f"{form.events}.done", **{form.text: text}, **form.delta_extras)
            + self._part_event(part, form.done, part=written)
            + self._event("response.output_item.done", output_index=part.output_index, item=item)
        )

    def _part_event(self, opened: OpenPart, kind: str, /, **members: Any) -> bytes:
        return self._event(kind, **self._place(opened), **members)

    def _place(self, opened: OpenPart) -> dict[str, Any]:
        return {"item_id": opened.item["id"], "output_index": opened.output_index, opened.form.index: 0}

    # --- calls ----------------------------------------------------------------------------------------------------

    def _call(self, piece: Call) -> bytes:
        known = self._calls.get(piece.index)
        if known is not None and (not piece.id or piece.id == known.given_id):
            return b""  # said again with each piece
        called = self._asked.called.get(piece.name) or Called(piece.name)
        number, self._items = self._items, self._items + 1
        names = {"call_id": self._call_id(piece.id, number), "name": called.name}
        if called.namespace:
            names["namespace"] = called.namespace
        item: dict[str, Any] = (
            {"id": f"ctc_{self._id}{number}", "type": "custom_tool_call", **names, "input": ""}
            if called.is_custom
            else {"id": f"fc_{self._id}{number}", "type": "function_call", "status": IN_PROGRESS, **names}
            | {"arguments": ""}
        )
        call = self._calls[piece.index] = OpenCall(item, number, piece.id, called.is_custom)
        self._all_calls.append(call)
        return self._end_part(COMPLETED) + self._event(
            "response.output_item.added", output_index=number, item=item
        )

    def _call_id(self, given: str, number: int) -> str:
        """Upstream's, where the conversation does not have it yet: some count anew in each answer."""
        call_id = given if given and given not in self._call_ids else f"call_{self._id}{number}"
        self._call_ids.add(call_id)
        return call_id

    def _arguments(self, index: int, text: str) -> bytes:
        events = self._call(Call(index, "", "")) if index not in self._calls else b""
        call = self._calls[index]
        call.arguments.append(text)
        return events if call.is_custom else events + self._arguments_event(call, "delta", delta=text)

    def _arguments_event(self, call: OpenCall, kind: str, **members: Any) -> bytes:
        name = "custom_tool_call_input" if call.is_custom else "function_call_arguments"
        return self._event(
            f"response.{name}.{kind}",
            item_id=call.item["id"],
            output_index=call.output_index,
            **members,
        )

    def _end_call(self, call: OpenCall, status: str) -> bytes:
        """One that was cut off is told in the response alone: agents carry out what is done."""
        written = "".join(call.arguments)
        arguments = custom_input(written) if call.is_custom else written if written.strip() else "{}"
        if call.is_custom:
            item = {**call.item, "input": arguments}
        else:
            item = {**call.item, "status": status, "arguments": arguments}
        self._output[call.output_index] = item
        if status != COMPLETED:
            return b""
        events = b""
        if call.is_custom or arguments != written:
            events += self._arguments_event(call, "delta", delta=arguments)
        if call.is_custom:
            events += self._arguments_event(call, "done", input=arguments)
        else:
            events += self._arguments_event(call, "done", name=item["name"], arguments=arguments)
        return events + self._event("response.output_item.done", output_index=call.output_index, item=item)

    # --- the response ---------------------------------------------------------------------------------------------

    def _event(self, kind: str, **members: Any) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        head = b'event: %b\ndata: {"type":"%b","sequence_number":%d' % (kind.encode(), kind.encode(), number)
        for name, value in members.items():
            written = msgspec.json.encode(value) if name == "response" else encode(value)
            head += b',"%b":%b' % (name.encode(), written)
        return head + b"}\n\n"

    def _response(
        self, status: str, usage: dict[str, Any] | None = None, error: dict[str, Any] | None = None
    ) -> dict[str, msgspec.Raw]:
        reason = INCOMPLETE_REASONS.get(self._finish) if status == INCOMPLETE else None
        members = {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": reason and {"reason": reason},
            "instructions": None,
            "model": self._asked.model,
            "output": [self._output[number] for number in sorted(self._output)],
            "previous_response_id": None,
            "store": False,
            "tools": [],
            "usage": usage,
        }
        written = {name: msgspec.Raw(encode(value)) for name, value in members.items()}
        return {**written, **self._asked.echo}
