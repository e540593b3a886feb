"""Where vendors' usage objects say what, as one declared table. Pure.

Nothing tells which vendor stands behind an upstream, so all rows are read together, and the first row that has a
figure counts. Whether cached tokens are among the prompt's, and reasoning among the completion's, shows in the sums
(proxy/metering/reported_usage.py). An example of each row stands in tests/proxy/metering/vendor_usage.json, with what
it costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor's usage object. `source`: what says so, and of when.

    `places`: where each figure stands, by the names of `Usage`; those of a vendor who writes as OpenAI does are
    OpenAI's. `cache_write_tokens` are of any lifetime. `price`: what the vendor says that the answer costs the
    operator, in dollars.
    """

    source: str
    places: Mapping[str, str]
    price: str | None = None


VENDORS = {
    "OpenAI": Vendor(
        "openai-python 3.54.0, types/completion_usage.py",
        {
            "prompt_tokens": "prompt_tokens",
            "completion_tokens": "completion_tokens",
            "total_tokens": "total_tokens",
            "cached_tokens": "prompt_tokens_details.cached_tokens",
            "cache_write_tokens": "prompt_tokens_details.cache_write_tokens",
            "input_audio_tokens": "prompt_tokens_details.audio_tokens",
            "input_image_tokens": "prompt_tokens_details.image_tokens",
            "reasoning_tokens": "completion_tokens_details.reasoning_tokens",
            "output_audio_tokens": "completion_tokens_details.audio_tokens",
        },
    ),
    "OpenAI Responses": Vendor(
        "openai-python 3.54.0, types/responses/response_usage.py",
        {
            "prompt_tokens": "input_tokens",
            "completion_tokens": "output_tokens",
            "cached_tokens": "input_tokens_details.cached_tokens",
            "cache_write_tokens": "input_tokens_details.cache_write_tokens",
            "reasoning_tokens": "output_tokens_details.reasoning_tokens",
        },
    ),
    "OpenAI Images": Vendor(
        "openai-python 3.54.0, types/images_response.py",
        {
            "input_image_tokens": "input_tokens_details.image_tokens",
            "output_image_tokens": "output_tokens_details.image_tokens",
        },
    ),
    "OpenAI Transcriptions": Vendor(
        "openai-python 3.54.0, types/audio/transcription.py",
        {"input_audio_tokens": "input_token_details.audio_tokens"},
    ),
    "Anthropic": Vendor(  # cache reads and writes beside the input tokens
        "platform.claude.com/docs, Prompt caching, November 2026; anthropic-sdk-python, types/usage.py",
        {
            "cached_tokens": "cache_read_input_tokens",
            "cache_write_tokens": "cache_creation_input_tokens",
            "cache_write_5m_tokens": "cache_creation.ephemeral_5m_input_tokens",
            "cache_write_1h_tokens": "cache_creation.ephemeral_1h_input_tokens",
            "reasoning_tokens": "output_tokens_details.thinking_tokens",
        },
    ),
    "Gemini": Vendor(  # thinking in the total alone
        "ai.google.dev/gemini-api/docs/openai, November 2026; discuss.ai.google.dev/t/98760, August 2025", {}
    ),
    "DeepSeek": Vendor(
        "api-docs.deepseek.com/api/create-chat-completion, November 2026",
        {"cached_tokens": "prompt_cache_hit_tokens"},
    ),
    "xAI": Vendor(  # reasoning beside the completion
        "docs.x.ai/docs/key-information/consumption-and-rate-limits, February 2026", {}
    ),
    "Moonshot": Vendor("platform.kimi.ai/docs/api/chat, August 2026", {"cached_tokens": "cached_tokens"}),
    "Qwen": Vendor(
        "alibabacloud.com/help/en/model-studio/context-cache, June 2026",
        {
            "cache_write_tokens": "prompt_tokens_details.cache_creation_input_tokens",
            "cache_write_5m_tokens": "prompt_tokens_details.cache_creation.ephemeral_5m_input_tokens",
        },
    ),
    "Mistral": Vendor(
        "docs.mistral.ai/studio-api/conversations/advanced/prompt-caching, June 2026; docs.mistral.ai/api, April 2026",
        {"cached_tokens": "num_cached_tokens"},
    ),
    "OpenRouter": Vendor(
        "openrouter.ai/docs/use-cases/usage-accounting, November 2026",
        {"output_image_tokens": "completion_tokens_details.image_tokens"},
        price="cost",
    ),
    "LiteLLM": Vendor(
        "docs.litellm.ai/docs/completion/prompt_caching, November 2026",
        {
            "cache_write_tokens": "prompt_tokens_details.cache_creation_tokens",
            "cache_write_5m_tokens": "prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens",
            "cache_write_1h_tokens": "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
        },
    ),
    "llama.cpp": Vendor("github.com/ggml-org/llama.cpp/pull/19361, February 2026", {}),
    "vLLM": Vendor("vllm/entrypoints/openai/engine/protocol.py, with --enable-prompt-tokens-details", {}),
    "Groq": Vendor("groq-typescript, src/resources/completions.ts, November 2026", {}),
    "Perplexity": Vendor("docs.perplexity.ai/api-reference, November 2026", {}, price="cost.total_cost"),
    "DeepInfra": Vendor("deepinfra.com/docs/advanced, November 2026", {}, price="estimated_cost"),
}  # fmt: skip

Path = tuple[str, ...]
# A name of a usage object to what stands there: (its row's rank, a figure), or the same of an object in there.
Places = dict[str, Any]


def path(dotted: str) -> Path:
    return tuple(dotted.split("."))


def _places() -> Places:
    tree: Places = {}
    rank = count()
    for vendor in VENDORS.values():
        for figure, dotted in vendor.places.items():
            *outer, name = path(dotted)
            node = tree
            for each in outer:
                node = node.setdefault(each, {})
            node.setdefault(name, (next(rank), figure))
    return tree


PLACES = _places()
PRICES = tuple(path(vendor.price) for vendor in VENDORS.values() if vendor.price)


def figures(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a usage object says of each figure of `Vendor.places`, nulls left out."""
    found: dict[str, tuple[int, Any]] = {}
    _collect(said, PLACES, found)
    return {figure: value for figure, (_rank, value) in found.items()}


def _collect(said: Mapping[str, Any], places: Places, found: dict[str, tuple[int, Any]]) -> None:
    for name, value in said.items():
        place = places.get(name)
        if place is None or value is None:
            continue
        if type(place) is dict:
            if isinstance(value, dict):
                _collect(value, place, found)
        else:
            rank, figure = place
            known = found.get(figure)
            if known is None or rank < known[0]:
                found[figure] = (rank, value)
