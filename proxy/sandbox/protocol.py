"""What the sandbox upstream answers, as values: OpenAI's protocol spoken deterministically. Pure.

A token is a word or a punctuation character; every message of a prompt costs one more. The answer repeats the
last user message in its own language, calls the offered functions, or fills the JSON schema that was asked for.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proxy.sandbox.request import MODELS, check, functions, read, stops

PIECE = re.compile(r"\s*(?:\w+|[^\w\s])")
PERSIAN = re.compile("[\u0600-\u06ff]")
ECHO_CHARACTERS = 4_000
DEPTH = 8
UNLIKELY = (
    " the", " a", " an", " and", " or", " of", " to", " in", " on", " at",
    " by", " for", " from", " with", " as", " is", " it", " that", " this", " so",
)  # fmt: skip
ENGLISH_ANSWER = "Hello! This is the sandbox upstream, not a language model. You wrote: {}"
PERSIAN_ANSWER = "سلام! این پاسخ از سرویس آزمایشی است، نه از یک مدل زبانی. نوشتید: {}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: text pieces, or calls as (name, JSON arguments)."""

    pieces: list[str]
    calls: list[tuple[str, str]]
    finish_reason: str

    @property
    def tokens(self) -> int:
        return len(self.pieces) + _call_tokens(self.calls)


@dataclass(frozen=True, slots=True)
class Completion:
    id: str
    model: str
    choices: list[Choice]
    usage: dict[str, Any]
    stream: bool
    include_usage: bool
    top_logprobs: int | None = None  # how many beside each token; None: no logprobs

    def whole(self, created: int) -> dict[str, Any]:
        choices = [
            {
                "index": i,
                "message": _message(choice),
                "logprobs": self._logprobs(choice.pieces),
                "finish_reason": choice.finish_reason,
            }
            for i, choice in enumerate(self.choices)
        ]
        return self._envelope("chat.completion", created) | {"choices": choices, "usage": self.usage}

    def chunks(self, created: int) -> Iterator[dict[str, Any]]:
        """Role first, then a piece at a time over all choices in turn, finish reasons, usage where asked for."""
        envelope = self._envelope("chat.completion.chunk", created)
        if self.include_usage:
            envelope["usage"] = None
        pending = [(i, _deltas(choice)) for i, choice in enumerate(self.choices)]
        while pending:
            for i, deltas in list(pending):
                delta = next(deltas, None)
                if delta is None:
                    pending.remove((i, deltas))
                finish = self.choices[i].finish_reason if delta is None else None
                said = [delta["content"]] if delta and delta.get("content") else []
                choice = {
                    "index": i,
                    "delta": delta or {},
                    "logprobs": self._logprobs(said) if said else None,
                    "finish_reason": finish,
                }
                yield envelope | {"choices": [choice]}
        if self.include_usage:
            yield envelope | {"choices": [], "usage": self.usage}

    def _logprobs(self, pieces: list[str]) -> dict[str, Any] | None:
        if self.top_logprobs is None:
            return None
        return {"content": [_logprob(piece, self.top_logprobs) for piece in pieces], "refusal": None}

    def _envelope(self, kind: str, created: int) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": created,
            "model": self.model,
            "system_fingerprint": "sandbox",
        }


def models() -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "sandbox"} for name in MODELS],
    }


def complete(raw: bytes) -> Completion:
    """The answer to a request body. Raises Refused."""
    body = read(raw, endpoint="chat")
    check(body)
    messages = body["messages"]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    choice = _choice(body, limit)
    n = body.get("n") or 1
    prompt_tokens = sum(1 + count_tokens(text_of(message)) for message in messages)
    return Completion(
        id="chatcmpl-" + hashlib.sha256(raw).hexdigest()[:24],
        model=body["model"],
        choices=[choice] * n,
        usage={
            "prompt_tokens": prompt_tokens,
            "completion_tokens": choice.tokens * n,
            "total_tokens": prompt_tokens + choice.tokens * n,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        top_logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
    )


def count_tokens(text: str) -> int:
    return sum(1 for _piece in PIECE.finditer(text))


def text_of(message: dict[str, Any]) -> str:
    """The text of a message whose content is a string, parts, or absent."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def _choice(body: dict[str, Any], limit: int | None) -> Choice:
    messages = body["messages"]
    said = next((text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")[:ECHO_CHARACTERS]
    # Once the calls were made, text follows, or agents would never end.
    answered = messages[-1].get("role") == "tool"
    if body.get("tools") and body.get("tool_choice") != "none" and not answered:
        calls = [
            (function["name"], json.dumps(_sample(function.get("parameters"), said), ensure_ascii=False))
            for function in functions(body)
        ]
        within = calls if limit is None else _cut(calls, limit)
        return Choice(pieces=[], calls=within, finish_reason="tool_calls" if within == calls else "length")
    text = _text(body.get("response_format"), text_of(messages[-1]) if answered else said)
    return spoken(text, limit, stops(body))


def spoken(text: str, limit: int | None, stops: list[str]) -> Choice:
    """The text up to its limit, or up to the first of its stops if that comes before."""
    pieces: list[str] = PIECE.findall(text)
    within = pieces[:limit]
    made = "".join(within)
    found = [at for stop in stops if (at := made.find(stop)) >= 0]
    if found:
        return Choice(pieces=_pieces(made[: min(found)]), calls=[], finish_reason="stop")
    return Choice(pieces=within, calls=[], finish_reason="stop" if within == pieces else "length")


def _pieces(text: str) -> list[str]:
    """All of a text, the spaces at its end too."""
    pieces: list[str] = PIECE.findall(text)
    rest = text[sum(map(len, pieces)) :]
    return [*pieces, rest] if rest else pieces


def _cut(calls: list[tuple[str, str]], limit: int) -> list[tuple[str, str]]:
    within: list[tuple[str, str]] = []
    for name, text in calls:
        room = limit - _call_tokens(within) - count_tokens(name)
        if room < 0:
            break
        within.append((name, "".join(PIECE.findall(text)[:room])))
    return within


def _call_tokens(calls: list[tuple[str, str]]) -> int:
    return sum(count_tokens(name) + count_tokens(text) for name, text in calls)


def _text(response_format: Any, said: str) -> str:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "json_schema":
        wrapper = response_format.get("json_schema")
        schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
        return json.dumps(_sample(schema, said), ensure_ascii=False)
    if kind == "json_object":
        return json.dumps({"echo": said}, ensure_ascii=False)
    return answer_to(said)


def answer_to(said: str) -> str:
    return (PERSIAN_ANSWER if PERSIAN.search(said) else ENGLISH_ANSWER).format(said)


def _sample(schema: Any, said: str, depth: int = 0) -> Any:
    """A value that fits the simple parts of a JSON schema."""
    if not isinstance(schema, dict) or depth > DEPTH:
        return {}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "array":
        return [_sample(schema.get("items"), said, depth + 1)]
    plain = {"string": said, "integer": 1, "number": 1, "boolean": True, "null": None}
    if kind in plain:
        return plain[kind]
    properties = schema.get("properties")
    items = properties.items() if isinstance(properties, dict) else ()
    return {name: _sample(inner, said, depth + 1) for name, inner in items}


def _logprob(token: str, beside: int) -> dict[str, Any]:
    """A likely token, and as many less likely ones beside it as were asked for, itself first."""
    others = [other for other in UNLIKELY if other != token]
    ranked = [(token, -0.1), *((other, -3.0 - rank) for rank, other in enumerate(others))][:beside]
    return _rated(token, -0.1) | {"top_logprobs": [_rated(*one) for one in ranked]}


def _rated(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode(errors="replace"))}


def _message(choice: Choice) -> dict[str, Any]:
    if not choice.calls:
        return {"role": "assistant", "content": "".join(choice.pieces), "refusal": None}
    calls = [
        {"id": _call_id(i), "type": "function", "function": {"name": name, "arguments": text}}
        for i, (name, text) in enumerate(choice.calls)
    ]
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}


def _deltas(choice: Choice) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if choice.calls else "", "refusal": None}
    for piece in choice.pieces:
        yield {"content": piece}
    for i, (name, text) in enumerate(choice.calls):
        function = {"name": name, "arguments": ""}
        yield {"tool_calls": [{"index": i, "id": _call_id(i), "type": "function", "function": function}]}
        for piece in PIECE.findall(text):
            yield {"tool_calls": [{"index": i, "function": {"arguments": piece}}]}


def _call_id(index: int) -> str:
    return f"call_{index:024d}"
