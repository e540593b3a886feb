"""One streamed answer on its way through: what the client gets, what was used, how it ended. Pure.

Events are relayed one by one, verbatim but for the model's name. Each is decoded once (a microsecond) to see text,
usage, errors and the end. What carries usage, ends a choice in a word of its own or needs repair is written anew.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
import orjson

from proxy.api.chat_completions import plain_chunks
from proxy.api.chat_completions.answers import (
    check_choice,
    choices_of,
    decode,
    edited,
    encode,
    finish_reason,
    makes_calls,
    said_in,
)
from proxy.api.chat_completions.repairs import ChunkRepairs
from proxy.api.event_stream import CountedStream
from proxy.errors import APIError
from proxy.metering import purchase, reported_usage
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report
from proxy.upstreams import sse
from proxy.upstreams.errors import error_of

CHUNK_HEAD = ("id", "object", "created", "model", "system_fingerprint")
NO_USAGE = b',"usage":null'
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # a stream may begin with one


class AnswerStream(CountedStream):
    """`feed` gives what the client is to get now; `tail` what comes after payment. `allow`: see StreamedAnswer.

    `report`, `size` and `is_final` say what to bill; `begun` that a choice has; `finished` that all of the text has
    come; `done` that nothing more is read. Once `failure` says why this is no usable answer, nothing more is read
    either; `broke_off` is one of them. `said_something` counts the events that were no mere sign of life.

    `output_bound`: the tokens that are paid for, 0 for any number. The event that goes beyond is not relayed, and the
    answer `is_cut`: done, with choices that end for want of length.
    """

    NOTHING_MORE: ClassVar[dict[str, Any]] = {"delta": {}}  # of a choice that ends

    def __init__(
        self,
        *,
        include_usage: bool,
        model: str | None = None,
        choices: int = 1,
        repairs: bool = False,
        output_bound: int = 0,
    ) -> None:
        super().__init__(output_bound=output_bound)
        self._include_usage = include_usage
        self._model = model
        self._choices = choices
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._calling: set[int] = set()
        self._repairs = ChunkRepairs() if repairs else None
        self._report: Report | None = None
        self._choice_reports: dict[int, Report] = {}
        self._last_data = b"{}"
        self._last_without_choices: dict[str, Any] = {}
        self._renamed: tuple[str | None, bytes, bytes] = (None, b"", b"")  # see _rename

    @property
    def begun(self) -> bool:
        return bool(self._begun)

    @property
    def finished(self) -> bool:
        return len(self._ended) >= self._choices

    @property
    def report(self) -> Report | None:
        """The last usage that was reported."""
        return self._report or reported_usage.combined(list(self._choice_reports.values()))

    @property
    def is_final(self) -> bool:
        """Whether the report is upstream's last word: the answer has ended, and no text came after it."""
        return self._silent_since_report and not self.is_cut and (self.done or self.finished)

    def _is_whole(self) -> bool:
        # An upstream may have made fewer choices than it was asked for; those that it began, it has to end.
        return bool(self._ended) and self._begun <= self._ended

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        """The last bytes: an end for each choice that has none, usage and its cost where asked for, and `[DONE]`."""
        last = self._last_without_choices
        head = _head(self._last_data, self._model)
        usage = {"usage": None} if self._include_usage else {}
        events = []
        for number in sorted((self._begun or {0}) - self._ended):
            word = "length" if self.is_cut else "tool_calls" if number in self._calling else "stop"
            choice = {"index": number, **self.NOTHING_MORE, "finish_reason": word}
            events.append(sse.event(encode({**head, "choices": [choice], **usage})))
        if self._include_usage:
            said = self.report.said if self.report else None
            cost = reported_usage.for_customers(said, bill)
            events.append(sse.event(encode({**last, **head, "choices": [], "usage": cost})))
        return b"".join(events) + (sse.DONE if refused is None else self.failed(refused))

    def failed(self, error: APIError) -> bytes:
        return sse.error_event(error.body())

    def _read(self, event: bytes) -> bytes:
        plain = event.startswith(b"data:") and event.count(b"\n") == 2
        data = event[5:-2].strip() if plain else sse.data(event)
        if data == b"[DONE]":
            if not self.said_something:
                raise BadAnswer("an end without an answer")
            self.done = True
            return b""
        if plain and data and self._choices == 1 and self._repairs is None:
            relayed = self._plain(event, data)
            if relayed is not None:
                return relayed
        name = b"" if plain else sse.name(event)
        if not data:
            if name == b"error":
                raise BadAnswer("an error in the stream")
            if event.startswith(BYTE_ORDER_MARK):
                return self._read(event.removeprefix(BYTE_ORDER_MARK))
            if data is None and not event.startswith(sse.WITHOUT_DATA):
                error = error_of(decode(event)) if event.startswith((b"{", b"[")) else None
                raise BadAnswer("no event stream", error=error)
            return sse.comments(event)
        chunk = decode(data)
        if (error := error_of(chunk, named=name == b"error")) is not None:
            raise BadAnswer("an error in the stream", error=error)
        if chunk is None:  # as llama.cpp begins several answers at once
            return b""
        if not isinstance(chunk, dict):
            raise BadAnswer("an event that is no object")
        if not plain:  # several lines, or a name that SDKs would take for another kind of event
            data = data.replace(b"\n", b" ")
            event = sse.event(data)
        return self._chunk(event, data, chunk)

    def _plain(self, event: bytes, data: bytes) -> bytes | None:
        """An event that is a PlainChunk, as it is but for its model and a usage of null; None for any other."""
        try:
            chunk = plain_chunks.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        choice = chunk.choices[0]
        if chunk.model != self._model and chunk.model is not None and self._model is not None:
            renamed = self._rename(chunk.model, event)
            if renamed is None:
                return None
            event = renamed
        if chunk.usage is None and not self._include_usage:
            if NO_USAGE not in event:
                return None
            event = event.replace(NO_USAGE, b"")
        said = choice.delta.texts()
        if said and not self._has_room(said):
            return b""
        self._begun.add(choice.index)
        self._last_data = data
        return event

    def _rename(self, given: str, event: bytes) -> bytes | None:
        """The event with the name that was asked for in the place of upstream's; None where that is not plain to see.

        The member as it is looked for cannot stand inside a JSON string, where its quotes would be escaped.
        """
        name, there, instead = self._renamed
        if name != given:
            space = b" " if b'"model": ' in event else b""
            there = b'"model":' + space + orjson.dumps(given)
            instead = b'"model":' + space + orjson.dumps(self._model)
            self._renamed = (given, there, instead)
        return event.replace(there, instead) if event.count(there) == 1 else None

    def _chunk(self, event: bytes, data: bytes, chunk: dict[str, Any]) -> bytes:
        choices = choices_of(chunk)
        report = reported_usage.report_of(chunk)
        changes = purchase.changes(chunk)
        if self._read_choices(choices):
            changes["choices"] = chunk["choices"]
        if self.is_cut or self.waits_for:
            return b""
        if self._repairs is not None and self._repairs.repair(chunk):
            changes["choices"] = chunk["choices"]
        given = chunk.get("model")
        if self._model is not None and given is not None and given != self._model:
            renamed = self._rename(given, event) if isinstance(given, str) and not changes else None
            if renamed is None:
                changes["model"] = self._model
            else:
                event, data = renamed, renamed[5:].strip()
        if report is not None:  # on every chunk of some upstreams: the last one counts
            self._report, self._silent_since_report = report, True
        if choices or report is not None:
            self._last_data = data
        if not choices:
            return self._without_choices(event, data, chunk, changes, reported=report is not None)
        if "usage" in chunk:
            if not self._include_usage:
                changes["usage"] = ...
            elif chunk["usage"] is not None:
                changes["usage"] = None
        return sse.event(edited(data, chunk, changes)) if changes else event

    def _without_choices(
        self, event: bytes, data: bytes, chunk: dict[str, Any], changes: dict[str, Any], *, reported: bool
    ) -> bytes:
        """A chunk with usage is kept for the end, what an upstream adds to it too; a ping is for nobody."""
        if reported:
            encode(chunk)  # what cannot be written must fail before it is paid for
            shown = {**chunk, **changes}
            self._last_without_choices.update(
                (name, value) for name, value in shown.items() if value is not ...
            )
            return b""
        if "choices" not in chunk or ("usage" in chunk and not self._include_usage):
            return b""
        return sse.event(edited(data, chunk, changes)) if changes else event

    def _said(self, choice: dict[str, Any]) -> Iterable[str]:
        """What is billed as output of what it says."""
        return said_in(choice, "delta")

    def _read_choices(self, choices: list[dict[str, Any]]) -> bool:
        """Counts what they say, or cuts the answer. Whether something of them was changed. Raises BadAnswer."""
        changed = False
        for choice in choices:
            check_choice(choice)
        said = [text for choice in choices for text in self._said(choice)]
        if not self._has_room(said):
            return False
        for choice in choices:
            number = choice.get("index")
            number = number if isinstance(number, int) else 0
            self._begun.add(number)
            delta = choice.get("delta")
            if makes_calls(delta):
                self._calling.add(number)
            if isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role"):
                self.said_something += 1
            if (report := reported_usage.report_of(choice)) is not None:
                self._choice_reports[number], self._silent_since_report = report, True
            changed = choice.pop("usage", None) is not None or changed
            if word := finish_reason(choice, calls=number in self._calling):
                self._ended.add(number)
                self.said_something += 1
                if choice["finish_reason"] != word:
                    choice["finish_reason"] = word
                    changed = True
        return changed


def _head(data: bytes, model: str | None) -> dict[str, Any]:
    """What the chunks of one answer have in common."""
    last = decode(data)
    head = {name: last[name] for name in CHUNK_HEAD if name in last}
    return {**head, "model": model} if model is not None and head.get("model") is not None else head
