"""How each kind of text of a response is streamed, as one table. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PartForm:
    """How one kind of text is streamed. `place`: the item's list that its part stands in; `text`: its member."""

    item: str
    id_prefix: str
    place: str
    part: str
    text: str
    index: str
    added: str
    events: str
    done: str
    extras: Mapping[str, Any] = field(default_factory=dict)
    delta_extras: Mapping[str, Any] = field(default_factory=dict)


_PART_EVENTS = ("content_index", "response.content_part.added")
TEXT = PartForm(
    "message", "msg", "content", "output_text", "text", *_PART_EVENTS,
    "response.output_text", "response.content_part.done",
    {"annotations": [], "logprobs": []}, {"logprobs": []},
)  # fmt: skip
REFUSAL = PartForm(
    "message", "msg", "content", "refusal", "refusal", *_PART_EVENTS,
    "response.refusal", "response.content_part.done",
)  # fmt: skip
REASONING = PartForm(
    "reasoning", "rs", "content", "reasoning_text", "text", *_PART_EVENTS,
    "response.reasoning_text", "response.content_part.done",
)  # fmt: skip
SUMMARY = PartForm(
    "reasoning", "rs", "summary", "summary_text", "text", "summary_index",
    "response.reasoning_summary_part.added", "response.reasoning_summary_text",
    "response.reasoning_summary_part.done",
)  # fmt: skip
