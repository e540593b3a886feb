"""What a report teaches about a model, and what it does not."""

import pytest

from proxy.catalogue.learning import Expected, exceeded
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.tokens import PromptSize
from tests.proxy.factories import served_model

CONTEXT = 10_000


def learned(
    prompt_tokens: int, completion_tokens: int = 1, *, media_parts: int = 0, media: int | None = None
) -> dict[str, int]:
    model = served_model(context_tokens=CONTEXT, media_part_tokens=media)
    prompt = PromptSize(text_bytes=1_000, media_parts=media_parts)
    return exceeded(Expected(model, prompt, 1_000, 1), Usage(prompt_tokens, completion_tokens))


def test_what_was_declared_or_bounded_and_kept_teaches_nothing() -> None:
    assert learned(1_000, 1_000) == {}


def test_a_figure_that_was_exceeded_becomes_what_was_reported() -> None:
    assert learned(1_000, 1_500) == {"learned_output_tokens": 1_500}
    assert learned(1_500) == {"template_tokens": 500}
    assert learned(3_000, media_parts=1, media=1_000) == {"media_part_tokens": 1_936}
    assert learned(12_000)["learned_context_tokens"] == 12_000
    assert learned(90_000)["learned_context_tokens"] == 90_000


@pytest.mark.parametrize(("media_parts", "media"), [(0, None), (2, None), (2, 1_000)])
def test_a_prompt_that_no_tokenizer_can_have_made_of_it_closes_no_model(
    media_parts: int, media: int | None
) -> None:
    assert learned(2**31 - 1, media_parts=media_parts, media=media) == {}
    assert learned(2**31 - 1, 1_500, media_parts=media_parts, media=media) == {"learned_output_tokens": 1_500}
