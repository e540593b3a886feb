"""What another price list would have done to last week's usage of its model."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import PROMPT_PARTS, items
from proxy.usage.quantities import FURTHER_TOKENS, IMAGE_KIND, UNITS

SPAN = timedelta(days=7)
COUNTED = [*FURTHER_TOKENS.values(), *UNITS.values()]
# One row for each tier of the new list and kind of image: within these a cost is the sum of products of sums.
SUMS = f"""
SELECT width_bucket(prompt_tokens::bigint - 1, %(above)s::bigint[]) AS tier,
       {", ".join(f"coalesce(quantities->>'{name}', '') AS {name}" for name in IMAGE_KIND)},
       count(*), sum(cost_micro + uncovered_micro), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),
       {", ".join(f"coalesce(sum((quantities->>'{name}')::bigint), 0)" for name in COUNTED)}
FROM proxy_usagerecord
WHERE model = %(model)s AND created_at >= %(since)s AND created_at < %(until)s AND billed_by <> 'nothing'
GROUP BY 1, 2, 3
"""  # noqa: S608 - names from our own code
PARTS_OF_PROMPT = [FURTHER_TOKENS[name] for name in PROMPT_PARTS if name in FURTHER_TOKENS]


@dataclass(frozen=True, slots=True)
class Effect:
    """Of the billed requests of a week: how many, what they cost (in micro-Rial), and what they would have."""

    requests: int
    before_micro: int
    after_micro: int

    @property
    def difference_micro(self) -> int:
        return self.after_micro - self.before_micro


def last_week(*, model_id: str, price: PriceQuote, now: datetime) -> Effect:
    requests = before = after = 0
    levels = price.levels
    with connection.cursor() as cursor:
        cursor.execute(
            SUMS,
            {
                "above": [rates.above_tokens for rates in levels[1:]],
                "model": model_id,
                "since": now - SPAN,
                "until": now,
            },
        )
        rows = cursor.fetchall()
    for tier, size, quality, count, charged, prompt, cached, completion, *counted in rows:
        found = {name: int(quantity) for name, quantity in zip(COUNTED, counted, strict=True) if quantity}
        parts_of_prompt = sum(found.get(name, 0) for name in PARTS_OF_PROMPT)
        parts = sum(found.get(name, 0) for name in FURTHER_TOKENS.values())
        quantities = {
            **found,
            "input": int(prompt - cached) - parts_of_prompt,
            "cached_input": int(cached),
            "output": int(completion) - (parts - parts_of_prompt),
            "request": int(count),
        }
        of_tier = items(
            quantities,
            price,
            prompt_tokens=levels[tier].above_tokens + 1,
            image_rial=price.image_rial(size, quality) if "image" in found else None,
        )
        requests, before = requests + int(count), before + int(charged)
        after += sum(item.cost_micro for item in of_tier)
    return Effect(requests, before, after)
