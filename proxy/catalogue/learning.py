"""Figures that an upstream reports above what was declared of a model: they hold from then on, in all processes.

A loss of this kind shall happen once per model, not once per request. The process that meets it uses the new figure at
once, stores it beside the declared one, and tells the others, which read the catalogue anew. A learned figure only ever
rises; an admin removes it when the upstream has been repaired.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import psycopg
import psycopg_pool
import redis.asyncio
from prometheus_client import Counter
from psycopg import sql
from redis.exceptions import RedisError

from accounts.shared import broadcasts
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.served import CatalogueCache, ServedModel
from proxy.catalogue.tokens import PromptSize

logger = logging.getLogger(__name__)

EXCEEDED = Counter(
    "hamiran_declarations_exceeded", "Declared or bounded figures that a report exceeded", ["model", "figure"]
)

CHANNEL = "hamiran:catalogue"
TEMPLATE_EXCESS_MAX = 4_096  # a larger excess does not come from a template
TOKENS_PER_100_BYTES_MAX = 1_000
# A report of ten times the prompt's bytes and ten times the context is a mistake, and must not close a model.
LEAP_MAX = 10


@dataclass(frozen=True, slots=True)
class Expected:
    """The bounds of a request. `output_limit` is the cap that was sent, for each of `n` choices.

    `prompt` is all of its `prompts` together.
    """

    model: ServedModel
    prompt: PromptSize
    output_limit: int
    n: int
    prompts: int = 1


def exceeded(expected: Expected, usage: Usage) -> dict[str, int]:
    """The figures that a believed report shows to be too low, as columns of LanguageModel with what they become."""
    model, found = expected.model, {}
    # No answer is longer than the context, whatever is reported: a mistake must not close a model for good.
    answer_tokens = min(-(-usage.completion_tokens // expected.n), model.longest_prompt_tokens)
    if answer_tokens > max(expected.output_limit, model.learned_output_tokens or 0):
        found["learned_output_tokens"] = answer_tokens
    each = -(-usage.prompt_tokens // expected.prompts)
    if each > LEAP_MAX * max(expected.prompt.text_bytes, model.longest_prompt_tokens):
        return found
    if each > model.longest_prompt_tokens:
        found["learned_context_tokens"] = each
    return found | _rates_exceeded(model, expected.prompt, usage.prompt_tokens)


def _rates_exceeded(model: ServedModel, prompt: PromptSize, prompt_tokens: int) -> dict[str, int]:
    media, rates = model.media_part_tokens, model.rates
    bound = prompt.bound(
        rates=rates, media_part_tokens=media or 0, context_tokens=model.context_tokens, trust_context=False
    )
    excess = prompt_tokens - bound
    if excess <= 0 or (prompt.media_parts and media is None):
        return {}
    if prompt.media_parts and media is not None:
        return {"media_part_tokens": media + -(-excess // prompt.media_parts)}
    if excess <= TEMPLATE_EXCESS_MAX:
        return {"template_tokens": rates.template_tokens + excess}
    name, rate, length_bytes = (
        ("tools_tokens_per_100_bytes", rates.tools_tokens_per_100_bytes, prompt.tools_bytes)
        if prompt.tools_bytes * 2 > prompt.text_bytes
        else ("tokens_per_100_bytes", rates.tokens_per_100_bytes, prompt.text_bytes - prompt.tools_bytes)
    )
    return {name: min(rate + -(-excess * 100 // length_bytes), TOKENS_PER_100_BYTES_MAX)}


class Learning:
    """What one web process learns."""

    def __init__(
        self,
        catalogue: CatalogueCache,
        database: "psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Any]]",
        valkey: redis.asyncio.Redis,
    ) -> None:
        self._catalogue, self._database, self._valkey = catalogue, database, valkey
        self._storing: set[asyncio.Task[None]] = set()

    def observe(self, model_id: str, found: dict[str, int]) -> None:
        """Goes by figures that a believed report showed to be declared too low (`exceeded`), and stores them."""
        if not found or not self._catalogue.learn(model_id, found):
            return
        for figure in found:
            EXCEEDED.labels(model_id, figure).inc()
        logger.error("an upstream exceeded what is declared", extra={"model": model_id, **found})
        task = asyncio.create_task(self._store(model_id, found), name="learning")
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def follow(self) -> None:
        """Reads the catalogue anew whenever another process has learned something, for ever."""
        await broadcasts.follow(
            self._valkey, CHANNEL, on_start=self._catalogue.refresh_soon, on_message=self._heard
        )

    def _heard(self, _message: str) -> None:
        self._catalogue.refresh_soon()

    async def _store(self, model_id: str, found: dict[str, int]) -> None:
        columns = sql.SQL(", ").join(
            sql.SQL("{0} = greatest({0}, {1})").format(sql.Identifier(name), sql.Literal(value))
            for name, value in found.items()
        )
        statement = sql.SQL("UPDATE proxy_languagemodel SET {} WHERE model_id = {}").format(
            columns, sql.Literal(model_id)
        )
        try:
            async with self._database.connection() as connection:
                await connection.execute(statement)
        except (psycopg.Error, psycopg_pool.PoolTimeout):
            logger.exception("what was learned could not be stored; this process goes by it until it ends")
            return
        self._catalogue.stored(model_id, found)
        try:
            await self._valkey.publish(CHANNEL, model_id)
        except RedisError:
            logger.warning("what was learned is not announced: others read it within seconds", exc_info=True)
