"""The answer that the reference and the OpenAPI document show. Pure."""

import json

from proxy.catalogue import pricing
from proxy.catalogue.price_quote import PriceQuote
from wallet.money import toman_figure

TOKENS = pricing.Usage(prompt_tokens=12, completion_tokens=9)


def usage(price: PriceQuote) -> dict[str, object]:
    return {
        "prompt_tokens": TOKENS.prompt_tokens,
        "completion_tokens": TOKENS.completion_tokens,
        "total_tokens": TOKENS.total_tokens,
        "cost_toman": json.loads(toman_figure(pricing.cost_micro(TOKENS, price))),
    }


def answer(model_id: str, price: PriceQuote) -> dict[str, object]:
    message = {"role": "assistant", "content": "Hello! How can I help you today?"}
    return {
        "id": "chatcmpl-abc123",
        "object": "chat.completion",
        "created": 1700000000,
        "model": model_id,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage(price),
    }
