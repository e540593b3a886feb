"""What a usage record was charged for, item by item: by the list that priced it, or by the prices that it keeps."""

from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.pricing import Item, itemise
from proxy.catalogue.served import quote
from proxy.usage import quantities
from proxy.usage.models import UsageRecord


def items(record: UsageRecord) -> list[Item]:
    """Their sum is the cost and what was not covered, or would have been of a record that was not billed."""
    price = None
    if record.quantities and record.price_list_id:
        price = Price.objects.filter(pk=record.price_list_id).first()
    if price is None:
        return [
            Item("input", record.prompt_tokens - record.cached_tokens, record.input_rial_per_million),
            Item("cached_input", record.cached_tokens, record.cached_input_rial_per_million),
            Item("output", record.completion_tokens, record.output_rial_per_million),
        ]
    usage, units = quantities.read(
        prompt_tokens=record.prompt_tokens,
        cached_tokens=record.cached_tokens,
        completion_tokens=record.completion_tokens,
        further=record.quantities,
    )
    return itemise(usage, quote(price), units)
