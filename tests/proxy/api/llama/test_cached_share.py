"""A long conversation through us finds as much of itself in the upstream's cache of prompts as one without us."""

from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest

from proxy.usage.models import UsageRecord
from tests.live import eventually
from tests.proxy.api.conftest import Caller
from tests.proxy.api.llama.conftest import CHAT, NATIVE

TURNS = 50
ALLOWED = 0.01
conversations = count(1)  # each begins with a name of its own, so that none is found in the cache of another

Turns = list[dict[str, Any]]


@dataclass(frozen=True)
class Turn:
    """`said` is sent back with all that came before. `cached`: of the tokens of the prompt."""

    said: Turns
    tokens: int
    cached: int


def chat(system: str, turns: Turns) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": system}, *turns], "max_tokens": 8}


def read_chat(answer: dict[str, Any]) -> Turn:
    usage = answer["usage"]
    said = answer["choices"][0]["message"]
    return Turn([said], usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])


def messages(system: str, turns: Turns) -> dict[str, Any]:
    return {"system": system, "messages": turns, "max_tokens": 8}


def read_messages(answer: dict[str, Any]) -> Turn:
    usage = answer["usage"]
    cached = usage["cache_read_input_tokens"]
    said = {"role": "assistant", "content": answer["content"]}
    return Turn([said], usage["input_tokens"] + cached, cached)


def responses(system: str, turns: Turns) -> dict[str, Any]:
    return {"instructions": system, "input": turns, "max_output_tokens": 8, "store": False}


def read_responses(answer: dict[str, Any]) -> Turn:
    usage = answer["usage"]
    return Turn(answer["output"], usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"])


WRITE = {"chat/completions": chat, "messages": messages, "responses": responses}
READ = {"chat/completions": read_chat, "messages": read_messages, "responses": read_responses}


def talk(root: str, endpoint: str, *, model: str, key: str = "none") -> tuple[int, int]:
    """Tokens of all prompts of the conversation, and how many of them the upstream had in its cache."""
    system = (
        f"Conversation {next(conversations):02}. You are a calm clerk in a small library by the sea. " * 4
    )
    turns: Turns = []
    tokens = cached = 0
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=120) as client:
        for number in range(TURNS):
            turns.append({"role": "user", "content": f"Question {number}: which book is number {number}?"})
            body = {"model": model, "temperature": 0, "seed": 1, **WRITE[endpoint](system, turns)}
            answer = client.post(f"{root}/{endpoint}", json=body)
            assert answer.status_code == 200, answer.text
            turn = READ[endpoint](answer.json())
            turns += turn.said
            tokens, cached = tokens + turn.tokens, cached + turn.cached
    return tokens, cached


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(
    ("endpoint", "model"),
    [
        ("chat/completions", CHAT), ("messages", NATIVE), ("messages", CHAT), ("responses", NATIVE),
        ("responses", CHAT),
    ],
    ids=["chat", "messages-passed-on", "messages-translated", "responses-passed-on", "responses-translated"],
)  # fmt: skip
def test_over_fifty_turns_the_cache_is_hit_as_often_as_without_us(
    caller: Caller, llama: dict[str, str], endpoint: str, model: str
) -> None:
    direct_tokens, direct_cached = talk(llama["words"], endpoint, model=model)
    tokens, cached = talk(f"{caller.web.url}/v1", endpoint, model=model, key=caller.key)
    direct, ours = direct_cached / direct_tokens, cached / tokens
    print(f"{endpoint} of {model}: direct {direct:.2%} of {direct_tokens}, through us {ours:.2%} of {tokens}")
    assert direct > 0.5
    assert abs(ours - direct) <= ALLOWED
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).count() == TURNS)
    records = UsageRecord.objects.filter(key_id=caller.key_id)
    assert sum(record.prompt_tokens for record in records) == tokens
    assert sum(record.cached_tokens for record in records) == cached
