"""What the sandbox upstream answers beside chats: legacy completions, embeddings, moderations. Pure.

An embedding is made of words alone: texts that share many are near each other. A moderation flags a text for each
category whose name it contains, so that both outcomes can be tried.
"""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proxy.sandbox.protocol import ECHO_CHARACTERS, Choice, answer_to, count_tokens, spoken
from proxy.sandbox.request import Refused, check_numbers, check_stream_options, read, stops

INPUTS_MAX = 2_048
OUTPUT_TOKENS = 16  # of a completion that sets no limit of its own
DIMENSIONS, DIMENSIONS_MAX = 256, 1_024
WORD = re.compile(r"\w+")
NOT_GIVEN = ("suffix", "logprobs")
CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent",
    "self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors",
    "violence", "violence/graphic",
)  # fmt: skip
CERTAIN, UNLIKELY = 0.99, 0.01


@dataclass(frozen=True, slots=True)
class TextCompletion:
    id: str
    model: str
    choices: list[Choice]
    prefixes: list[str]  # the prompts, where they are to be repeated
    usage: dict[str, Any]
    stream: bool
    include_usage: bool

    def whole(self, created: int) -> dict[str, Any]:
        choices = [
            _text_choice(i, self.prefixes[i] + "".join(choice.pieces), choice.finish_reason)
            for i, choice in enumerate(self.choices)
        ]
        return self._envelope(created) | {"choices": choices, "usage": self.usage}

    def chunks(self, created: int) -> Iterator[dict[str, Any]]:
        """A piece at a time, one choice after the other, usage at the end where asked for."""
        envelope = self._envelope(created)
        if self.include_usage:
            envelope["usage"] = None
        for i, choice in enumerate(self.choices):
            for piece in (self.prefixes[i], *choice.pieces):
                if piece:
                    yield envelope | {"choices": [_text_choice(i, piece, None)]}
            yield envelope | {"choices": [_text_choice(i, "", choice.finish_reason)]}
        if self.include_usage:
            yield envelope | {"choices": [], "usage": self.usage}

    def _envelope(self, created: int) -> dict[str, Any]:
        return {"id": self.id, "object": "text_completion", "created": created, "model": self.model}


def complete_text(raw: bytes) -> TextCompletion:
    """Raises Refused."""
    body = read(raw, endpoint="completions")
    prompts = _inputs(body, "prompt")
    check_numbers(body)
    check_stream_options(body)
    for name in NOT_GIVEN:
        if body.get(name) is not None:
            raise Refused(400, f"'{name}' is not supported by this model.", param=name)
    limit, n = body.get("max_tokens") or OUTPUT_TOKENS, body.get("n") or 1
    choices = [spoken(answer_to(_said(prompt)), limit, stops(body)) for prompt in prompts for _ in range(n)]
    prompt_tokens = sum(map(_tokens, prompts))
    completion_tokens = sum(choice.tokens for choice in choices)
    return TextCompletion(
        id="cmpl-" + hashlib.sha256(raw).hexdigest()[:24],
        model=body["model"],
        choices=choices,
        prefixes=[_said(prompt) if body.get("echo") else "" for prompt in prompts for _ in range(n)],
        usage={
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def embed(raw: bytes) -> dict[str, Any]:
    """Raises Refused."""
    body = read(raw, endpoint="embeddings")
    inputs = _inputs(body, "input")
    given = {name: value for name, value in body.items() if value is not None}
    dimensions, form = given.get("dimensions", DIMENSIONS), given.get("encoding_format", "float")
    if type(dimensions) is not int or not 1 <= dimensions <= DIMENSIONS_MAX:
        message = f"Invalid 'dimensions': expected a whole number from 1 to {DIMENSIONS_MAX}."
        raise Refused(400, message, param="dimensions")
    if form not in ("float", "base64"):
        raise Refused(400, "Invalid 'encoding_format': expected float or base64.", param="encoding_format")
    vectors = [_vector(_said(each), dimensions) for each in inputs]
    tokens = sum(map(_tokens, inputs))
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": _base64(vector) if form == "base64" else vector}
            for i, vector in enumerate(vectors)
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def moderate(raw: bytes) -> dict[str, Any]:
    """Raises Refused."""
    body = read(raw, endpoint="moderations")
    given = body.get("input")
    parts = given if isinstance(given, list) else [given]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise Refused(
            400, "Invalid 'input': expected a string or an array of strings or texts.", param="input"
        )
    if isinstance(parts[0], dict):  # the parts of one input
        texts = [" ".join(texts)]
    return {
        "id": "modr-" + hashlib.sha256(raw).hexdigest()[:24],
        "model": body["model"],
        "results": [_moderated(text.lower()) for text in texts],
    }


def _inputs(body: dict[str, Any], name: str) -> list[str | list[int]]:
    given = body.get(name)
    inputs = given if isinstance(given, list) and not _are_ids(given) else [given]
    if not 0 < len(inputs) <= INPUTS_MAX or not all(
        isinstance(each, str) or _are_ids(each) for each in inputs
    ):
        message = (
            f"Invalid '{name}': expected a string, an array of at most {INPUTS_MAX} strings, or token ids."
        )
        raise Refused(400, message, param=name)
    return inputs


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)


def _said(given: str | list[int]) -> str:
    """Ids are of no vocabulary here: they stand for themselves."""
    return (given if isinstance(given, str) else " ".join(map(str, given)))[:ECHO_CHARACTERS]


def _tokens(given: str | list[int]) -> int:
    return count_tokens(given) if isinstance(given, str) else len(given)


def _text_choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _vector(text: str, dimensions: int) -> list[float]:
    """Of length 1: each word adds to, or takes from, one dimension."""
    vector = [0.0] * dimensions
    for word in WORD.findall(text.lower()) or [""]:
        number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
        vector[number // 2 % dimensions] += 1.0 if number % 2 else -1.0
    length = math.hypot(*vector)
    return [value / length for value in vector] if length else [1.0, *vector[1:]]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _moderated(text: str) -> dict[str, Any]:
    categories = {name: re.search(rf"(?<![\w/-]){name}(?![\w/-])", text) is not None for name in CATEGORIES}
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": {name: CERTAIN if found else UNLIKELY for name, found in categories.items()},
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
