"""Legacy completions, embeddings and moderations of the sandbox upstream, with the official client."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from proxy.sandbox.upstream import SandboxUpstream

URL = "http://sandbox.test/sandbox/upstream/v1"
WRITER, EMBEDDER, MODERATOR = "hamiran-completion", "hamiran-embedding", "hamiran-moderation"


@pytest.fixture
async def client() -> AsyncIterator[AsyncOpenAI]:
    transport = httpx.ASGITransport(app=SandboxUpstream(piece_delay_seconds=0))
    async with httpx.AsyncClient(transport=transport) as http:
        # The SDK is typed for another release of its HTTP client; the one here speaks the same.
        yield AsyncOpenAI(api_key="sandbox", base_url=URL, http_client=http, max_retries=0)  # type: ignore[arg-type]


async def test_a_completion_ends_at_its_default_length(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(model=WRITER, prompt="Hello, world!")
    assert (answer.object, answer.model) == ("text_completion", WRITER)
    assert [choice.finish_reason for choice in answer.choices] == ["length"]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 16)


async def test_several_prompts_get_several_answers_each(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(
        model=WRITER, prompt=["one", [1, 2]], n=2, max_tokens=50, echo=True
    )  # type: ignore[arg-type]  # what servers take beyond the SDK's types
    texts = [choice.text for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert texts[0] == texts[1]
    assert texts[0].startswith("one")
    assert texts[0].endswith("You wrote: one")
    assert texts[2].startswith("1 2")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3


async def test_a_streamed_completion_joins_to_the_whole_one(client: AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": WRITER, "prompt": "سلام", "max_tokens": 50, "echo": True}
    whole = await client.completions.create(**asked)
    stream = await client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert chunks[-1].usage == whole.usage


async def test_what_a_completion_cannot_do_is_refused(client: AsyncOpenAI) -> None:
    for wrong in (
        {"prompt": []},
        {"prompt": "a", "suffix": "b"},
        {"prompt": "a", "logprobs": 1},
        {"prompt": {}},
    ):
        with pytest.raises(BadRequestError):
            await client.completions.create(**{"model": WRITER, **wrong})  # type: ignore[call-overload]
    with pytest.raises(NotFoundError):
        await client.completions.create(model=EMBEDDER, prompt="a")


async def test_embeddings_are_of_length_one_and_near_where_words_are_shared(client: AsyncOpenAI) -> None:
    texts = ["the cat sat down", "the cat sat up", "خرید بلیت قطار", ""]
    answer = await client.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")
    first, near, far, empty = [one.embedding for one in answer.data]
    assert {len(first), len(empty)} == {256}
    assert sum(value * value for value in far) == pytest.approx(1)
    assert _likeness(first, near) > 0.5 > _likeness(first, far)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 11


async def test_embeddings_as_base64_are_the_same(client: AsyncOpenAI) -> None:
    """The client asks for base64 where nothing else is said, and decodes it."""
    asked: dict[str, Any] = {"model": EMBEDDER, "input": [[1, 2], [3]], "dimensions": 8}
    plain = await client.embeddings.create(**asked, encoding_format="float")
    packed = await client.embeddings.create(**asked)
    for one, other in zip(plain.data, packed.data, strict=True):
        assert len(other.embedding) == 8
        assert other.embedding == pytest.approx(one.embedding, abs=1e-6)
    assert plain.usage.prompt_tokens == 3


async def test_embeddings_refuse_what_they_cannot_make(client: AsyncOpenAI) -> None:
    for wrong in (
        {"input": []},
        {"input": ["a", 1]},
        {"input": "a", "dimensions": 0},
        {"input": "a", "encoding_format": "x"},
    ):
        with pytest.raises(BadRequestError):
            await client.embeddings.create(**{"model": EMBEDDER, **wrong})  # type: ignore[arg-type]


async def test_a_moderation_flags_the_categories_that_a_text_names(client: AsyncOpenAI) -> None:
    answer = await client.moderations.create(model=MODERATOR, input=["Whatever you say", "This is violence."])
    fine, flagged = answer.results
    assert not fine.flagged
    assert flagged.flagged
    assert flagged.categories.violence
    assert not flagged.categories.violence_graphic
    assert flagged.category_scores.violence > 0.9 > fine.category_scores.violence


async def test_the_parts_of_a_moderation_are_one_input(client: AsyncOpenAI) -> None:
    parts: Any = [{"type": "text", "text": "some"}, {"type": "text", "text": "hate"}]
    answer = await client.moderations.create(model=MODERATOR, input=parts)
    assert [result.categories.hate for result in answer.results] == [True]
    image: Any = [{"type": "image_url", "image_url": {"url": "https://x.test/y.png"}}]
    with pytest.raises(BadRequestError):
        await client.moderations.create(model=MODERATOR, input=image)


def _likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
