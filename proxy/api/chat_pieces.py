"""What translations of chat into other protocols read: a chat stream or a whole answer, as simple pieces. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from proxy.api.chat_completions import plain_chunks
from proxy.api.chat_completions.answers import REASONING, choices_of, decode


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call begins. `id` is upstream's, and empty where it gave none."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """More of a call's arguments, as JSON text."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """One of OpenAI's five reasons."""

    reason: str


Piece = Text | Reasoning | Refusal | Call | Arguments | Finish


def pieces(relayed: bytes) -> Iterator[Piece]:
    """Of the events that chat's AnswerStream gives for one choice. Comments, usage and `[DONE]` are none."""
    for event in relayed.split(b"\n\n"):
        if event.startswith(b"data: {"):
            yield from _of_chunk(event[6:])


def _of_chunk(data: bytes) -> Iterator[Piece]:
    try:
        delta = plain_chunks.decode(data).choices[0].delta
    except (msgspec.DecodeError, UnicodeDecodeError):
        yield from _of_decoded(decode(data))
        return
    if reasoning := delta.reasoning_content or delta.reasoning:
        yield Reasoning(reasoning)
    if delta.content:
        yield Text(delta.content)


def _of_decoded(chunk: dict[str, Any]) -> Iterator[Piece]:
    for choice in choices_of(chunk):
        yield from of_message(choice.get("delta"))
        if reason := choice.get("finish_reason"):
            yield Finish(reason)


def of_message(message: Any) -> Iterator[Piece]:
    """Of a delta, or of a whole message. What is none says nothing."""
    if not isinstance(message, dict):
        return
    reasoning = next((text for name in REASONING if isinstance(text := message.get(name), str) and text), "")
    if reasoning:
        yield Reasoning(reasoning)
    content = message.get("content")
    if isinstance(content, str) and content:
        yield Text(content)
    elif isinstance(content, list):
        yield from _of_parts(content)
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        yield Refusal(refusal)
    calls = message.get("tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            yield from _of_call(call, place)


def _of_parts(parts: list[Any]) -> Iterator[Piece]:
    for part in parts:
        if isinstance(part, dict) and isinstance(text := part.get("text"), str) and text:
            yield Text(text)


def _of_call(call: dict[str, Any], place: int) -> Iterator[Piece]:
    index = call.get("index")
    index = index if isinstance(index, int) else place
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    if isinstance(name := function.get("name"), str) and name:
        yield Call(index, str(call.get("id") or ""), name)
    arguments = function.get("arguments")
    if isinstance(arguments, dict):  # as some engines give them
        arguments = orjson.dumps(arguments).decode()
    if isinstance(arguments, str) and arguments:
        yield Arguments(index, arguments)
