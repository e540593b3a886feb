"""The answer that the reference and the OpenAPI document show. Pure."""

from proxy.catalogue.prices import pricing
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.metering import reported_usage
from proxy.metering.bill import Bill

TOKENS = pricing.Usage(prompt_tokens=12, completion_tokens=9)


def usage(price: PriceQuote) -> dict[str, object]:
    return reported_usage.for_customers(None, Bill(TOKENS, price, pricing.cost_micro(TOKENS, price)))


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
