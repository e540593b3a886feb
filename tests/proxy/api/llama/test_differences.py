"""The same calls direct to llama.cpp and through a web process differ in id, time, model name and cost alone.

Beside the cost, usage is filled up: what SDKs take for granted is there, and the last event of a message has it all.
"""

import json
from typing import Any

import httpx
import pytest

from tests.proxy.api.conftest import Caller
from tests.proxy.api.llama.conftest import CHAT, NATIVE, VECTORS

OURS = frozenset(
    {"id", "item_id", "response_id", "model", "created", "created_at", "completed_at", "cost_toman", "cost_details",
     "timings"}
)  # fmt: skip
SAID = "The capital of France is Paris. The capital of Iran is"
EXACTLY: dict[str, Any] = {"temperature": 0, "seed": 1}
ASKED: dict[str, dict[str, Any]] = {
    "messages": {"messages": [{"role": "user", "content": SAID}], "max_tokens": 12, **EXACTLY},
    "responses": {"input": SAID, "max_output_tokens": 12, "store": False, **EXACTLY},
}


def differences(ours: Any, direct: Any, where: str = "") -> list[str]:
    """Where they differ and must not."""
    if isinstance(direct, dict) and isinstance(ours, dict):
        names = direct.keys() | (set() if where.endswith("usage") else ours.keys())
        return [
            found
            for name in sorted(names - OURS)
            for found in differences(
                ours.get(name, "nothing"), direct.get(name, "nothing"), f"{where}.{name}"
            )
        ]
    if isinstance(direct, list) and isinstance(ours, list) and len(ours) == len(direct):
        return [
            found
            for place, pair in enumerate(zip(ours, direct, strict=True))
            for found in differences(*pair, f"{where}[{place}]")
        ]
    return [] if ours == direct else [f"{where}: {ours!r} and direct {direct!r}"]


def post(url: str, body: dict[str, Any], key: str = "none") -> httpx.Response:
    answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer


def both(
    url: str, caller: Caller, endpoint: str, model: str, **fields: Any
) -> tuple[httpx.Response, httpx.Response]:
    """Direct and through us, with the prompt in llama.cpp's cache both times."""
    body = {"model": model, **ASKED.get(endpoint, {}), **fields}
    post(f"{url}/{endpoint}", body)
    direct = post(f"{url}/{endpoint}", body)
    return direct, post(f"{caller.web.url}/v1/{endpoint}", body, caller.key)


def events(answer: httpx.Response) -> list[Any]:
    named = [
        dict(line.split(": ", 1) for line in one.split("\n")) for one in answer.text.strip().split("\n\n")
    ]
    return [[one.get("event"), json.loads(one["data"])] for one in named if one.get("data") != "[DONE]"]


@pytest.mark.parametrize("endpoint", ["messages", "responses"])
def test_what_is_passed_on_is_the_same_whole(caller: Caller, llama: dict[str, str], endpoint: str) -> None:
    direct, ours = both(llama["words"], caller, endpoint, NATIVE)
    assert differences(ours.json(), direct.json()) == []
    assert ours.json()["model"] == NATIVE
    assert ours.json()["usage"]["cost_toman"] > 0


@pytest.mark.parametrize("endpoint", ["messages", "responses"])
def test_what_is_passed_on_is_the_same_in_events(
    caller: Caller, llama: dict[str, str], endpoint: str
) -> None:
    direct, ours = both(llama["words"], caller, endpoint, NATIVE, stream=True)
    assert differences(events(ours), events(direct)) == []


def test_a_translated_message_says_and_counts_the_same(caller: Caller, llama: dict[str, str]) -> None:
    direct, ours = both(llama["words"], caller, "messages", CHAT)
    names = ("type", "role", "content", "stop_reason")
    assert [ours.json()[name] for name in names] == [direct.json()[name] for name in names]
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens"):
        assert ours.json()["usage"][name] == direct.json()["usage"].get(name, 0)


def test_a_translated_response_says_and_counts_the_same(caller: Caller, llama: dict[str, str]) -> None:
    direct, ours = (answer.json() for answer in both(llama["words"], caller, "responses", CHAT))

    def said(answer: Any) -> list[str]:
        return [part["text"] for item in answer["output"] for part in item["content"]]

    assert said(ours) == said(direct)
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert ours["usage"][name] == direct["usage"][name]


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_vectors_are_the_same_to_the_last_digit(
    caller: Caller, llama: dict[str, str], encoding_format: str
) -> None:
    texts = ["one text", "another text", "سلام دنیا"]
    direct, ours = both(
        llama["embeddings"], caller, "embeddings", VECTORS, input=texts, encoding_format=encoding_format
    )
    assert differences(ours.json(), direct.json()) == []
    assert len(ours.json()["data"]) == len(texts)
