"""The protocols of the API as upstreams answer and as clients hear them: what tests of all endpoints speak."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PROMPT_TOKENS, COMPLETION_TOKENS = 12, 9


@dataclass(frozen=True, slots=True)
class Heard:
    """What a stream told its client: its text, whether it `ended` as a whole answer does, and an error's code."""

    text: str
    ended: bool
    error: str | None = None


class Dialect(ABC):
    """One protocol. `endpoint` is the name of ours that speaks it, at `path`; `whole` and `stream` are upstream's."""

    endpoint: str
    path: str

    limit_field = "max_tokens"
    broken = "upstream_error"  # what a stream is told that fails after it has begun
    default_limit: int | None = None  # where the protocol asks for one

    def body(self, model: str, text: str, *, limit: int | None, stream: bool) -> dict[str, Any]:
        """A request for at most `limit` tokens."""
        limit = limit or self.default_limit
        capped = {} if limit is None else {self.limit_field: limit}
        return {"model": model, "stream": stream, **capped, **self.asks(text)}

    def sent(self, body: dict[str, Any]) -> dict[str, Any]:
        """How aiohttp is to send it."""
        return {"json": body}

    def wants_stream(self, written: bytes) -> bool:
        """Whether a body that an upstream got asks for a stream."""
        return bool(json.loads(written).get("stream"))

    def written(self, answer: dict[str, Any]) -> tuple[bytes, str]:
        """What `whole` gave, as bytes of a content type."""
        return json.dumps(answer).encode(), "application/json"

    def read(self, answer: bytes) -> str:
        """The text of a whole answer as a client got it."""
        return self.text_of(json.loads(answer))

    @abstractmethod
    def asks(self, text: str) -> dict[str, Any]: ...

    @abstractmethod
    def whole(
        self, text: str, *, prompt: int = PROMPT_TOKENS, completion: int = COMPLETION_TOKENS
    ) -> dict[str, Any]: ...

    @abstractmethod
    def stream(
        self, texts: Sequence[str], *, prompt: int = PROMPT_TOKENS, completion: int = COMPLETION_TOKENS
    ) -> list[bytes]: ...

    @abstractmethod
    def text_of(self, answer: dict[str, Any]) -> str: ...

    @abstractmethod
    def hear(self, events: list[dict[str, Any]], *, done: bool) -> Heard:
        """Of the data of each event; `done`: whether `[DONE]` was the last of them."""

    def heard(self, stream: bytes) -> Heard:
        """Of the bytes that a client has read, whole events or not."""
        data = [line[6:] for line in stream.split(b"\n")[:-1] if line.startswith(b"data: ")]
        done = data[-1:] == [b"[DONE]"]
        return self.hear([json.loads(one) for one in data if one != b"[DONE]"], done=done)


class Chat(Dialect):
    endpoint, path = "chat", "/chat/completions"
    kind = "chat.completion"

    def asks(self, text: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}]}

    def _says(self, text: str, *, whole: bool) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}} if whole else {"delta": {"content": text}}

    def _heard(self, choice: dict[str, Any]) -> str:
        return (choice.get("message") or choice.get("delta") or {}).get("content") or ""

    def _chunk(self, choice: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
        choices = [] if choice is None else [{"index": 0, **choice}]
        return {"id": "c", "object": self.kind, "created": 1, "model": "up", "choices": choices, **more}

    def whole(
        self, text: str, *, prompt: int = PROMPT_TOKENS, completion: int = COMPLETION_TOKENS
    ) -> dict[str, Any]:
        choice = {**self._says(text, whole=True), "finish_reason": "stop"}
        return self._chunk(choice, usage=_openai_usage(prompt, completion))

    def stream(
        self, texts: Sequence[str], *, prompt: int = PROMPT_TOKENS, completion: int = COMPLETION_TOKENS
    ) -> list[bytes]:
        chunks = [
            *(self._chunk({**self._says(text, whole=False), "finish_reason": None}) for text in texts),
            self._chunk({**self._says("", whole=False), "finish_reason": "stop"}),
            self._chunk(None, usage=_openai_usage(prompt, completion)),
        ]
        return [*(event(chunk) for chunk in chunks), b"data: [DONE]\n\n"]

    def text_of(self, answer: dict[str, Any]) -> str:
        return self._heard(answer["choices"][0])

    def hear(self, events: list[dict[str, Any]], *, done: bool) -> Heard:
        text = "".join(self._heard(choice) for each in events for choice in each.get("choices", ()))
        error = next((each["error"]["code"] for each in events if "error" in each), None)
        finished = any(choice.get("finish_reason") for each in events for choice in each.get("choices", ()))
        return Heard(text, done and finished and error is None, error)


class Completions(Chat):
    endpoint, path = "completions", "/completions"
    default_limit = 1_000
    kind = "text_completion"

    def asks(self, text: str) -> dict[str, Any]:
        return {"prompt": text}

    def _says(self, text: str, *, whole: bool) -> dict[str, Any]:
        return {"text": text}

    def _heard(self, choice: dict[str, Any]) -> str:
        return choice.get("text") or ""


class Messages(Dialect):
    endpoint, path = "messages", "/messages"
    default_limit = 1_000

    def asks(self, text: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}]}

    def _message(
        self, content: list[dict[str, Any]], stop: str | None, usage: dict[str, int]
    ) -> dict[str, Any]:
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": content,
            "stop_reason": stop, "stop_sequence": None, "usage": usage,
        }  # fmt: skip

    def whole(
        self, text: str, *, prompt: int = PROMPT_TOKENS, completion: int = COMPLETION_TOKENS
    ) -> dict[str, Any]:
        usage = {"input_tokens": prompt, "output_tokens": completion}
        return self._message([{"type": "text", "text": text}], "end_turn", usage)

    def stream(
        self, texts: Sequence[str], *, prompt: int = PROMPT_TOKENS, completion: int = COMPLETION_TOKENS
    ) -> list[bytes]:
        begun = self._message([], None, {"input_tokens": prompt, "output_tokens": 1})
        return [
            named("message_start", message=begun),
            named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *(
                named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
                for text in texts
            ),
            named("content_block_stop", index=0),
            named(
                "message_delta",
                delta={"stop_reason": "end_turn", "stop_sequence": None},
                usage={"output_tokens": completion},
            ),
            named("message_stop"),
        ]

    def text_of(self, answer: dict[str, Any]) -> str:
        return "".join(block.get("text", "") for block in answer["content"])

    def hear(self, events: list[dict[str, Any]], *, done: bool) -> Heard:
        assert not done
        text = "".join(
            each["delta"].get("text", "") for each in events if each["type"] == "content_block_delta"
        )
        error = next((each["error"]["code"] for each in events if each["type"] == "error"), None)
        return Heard(text, bool(events) and events[-1]["type"] == "message_stop", error)


class Responses(Dialect):
    endpoint, path = "responses", "/responses"
    limit_field = "max_output_tokens"
    broken = "server_error"

    def asks(self, text: str) -> dict[str, Any]:
        return {"input": text}

    def _response(self, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "id": "resp_1", "object": "response", "created_at": 1, "model": "up", "output": output, "usage": usage,
            "status": "completed" if usage else "in_progress", "error": None, "incomplete_details": None,
            "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": None, "tools": [],
            "tool_choice": "auto", "top_p": None,
        }  # fmt: skip

    def _item(self, text: str) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": []}
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }

    def _usage(self, prompt: int, completion: int) -> dict[str, Any]:
        return {
            "input_tokens": prompt, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": completion, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + completion,
        }  # fmt: skip

    def whole(
        self, text: str, *, prompt: int = PROMPT_TOKENS, completion: int = COMPLETION_TOKENS
    ) -> dict[str, Any]:
        return self._response([self._item(text)], self._usage(prompt, completion))

    def stream(
        self, texts: Sequence[str], *, prompt: int = PROMPT_TOKENS, completion: int = COMPLETION_TOKENS
    ) -> list[bytes]:
        text = "".join(texts)
        here = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        begun = {**self._item(""), "status": "in_progress", "content": []}
        parts: list[tuple[str, dict[str, Any]]] = [
            ("response.created", {"response": self._response([], None)}),
            ("response.output_item.added", {"output_index": 0, "item": begun}),
            (
                "response.content_part.added",
                {**here, "part": {"type": "output_text", "text": "", "annotations": []}},
            ),
            *(("response.output_text.delta", {**here, "delta": each, "logprobs": []}) for each in texts),
            ("response.output_text.done", {**here, "text": text, "logprobs": []}),
            ("response.content_part.done", {**here, "part": self._item(text)["content"][0]}),
            ("response.output_item.done", {"output_index": 0, "item": self._item(text)}),
            ("response.completed", {"response": self.whole(text, prompt=prompt, completion=completion)}),
        ]
        return [named(name, sequence_number=number, **more) for number, (name, more) in enumerate(parts)]

    def text_of(self, answer: dict[str, Any]) -> str:
        return "".join(
            part["text"] for item in answer["output"] if item["type"] == "message" for part in item["content"]
        )

    def hear(self, events: list[dict[str, Any]], *, done: bool) -> Heard:
        assert not done
        text = "".join(each["delta"] for each in events if each["type"] == "response.output_text.delta")
        error = next(
            (each["response"]["error"]["code"] for each in events if each["type"] == "response.failed"), None
        ) or next((each["code"] for each in events if each["type"] == "error"), None)
        last = events[-1]["type"] if events else ""
        return Heard(text, last in {"response.completed", "response.incomplete"}, error)


CHAT, COMPLETIONS, MESSAGES, RESPONSES = Chat(), Completions(), Messages(), Responses()


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def named(kind: str, **data: Any) -> bytes:
    return b"event: " + kind.encode() + b"\n" + event({"type": kind, **data})


def _openai_usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
