"""One factory a model of `proxy`, and keys to hang usage on."""

import uuid
from datetime import UTC, datetime
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from keys.models import APIKey
from proxy.catalogue import secrets
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.quirks import QUIRKS
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.catalogue.tokens import TokenRates
from proxy.usage.models import UsageRecord
from tests.factories import UserFactory


class APIKeyFactory(DjangoModelFactory[APIKey]):
    class Meta:
        model = APIKey

    user = factory.SubFactory(UserFactory)
    name = "a key"
    digest = factory.LazyFunction(lambda: uuid.uuid4().bytes * 2)
    pepper_version = 1
    last_four = "wxyz"


class LanguageModelFactory(DjangoModelFactory[LanguageModel]):
    class Meta:
        model = LanguageModel

    model_id = factory.LazyFunction(lambda: f"model-{uuid.uuid4().hex[:12]}")
    context_tokens = 8_000
    max_output_tokens = 1_000


class PriceFactory(DjangoModelFactory[Price]):
    class Meta:
        model = Price

    model = factory.SubFactory(LanguageModelFactory)
    input_rial_per_million = 1_000
    output_rial_per_million = 4_000


class UpstreamFactory(DjangoModelFactory[Upstream]):
    class Meta:
        model = Upstream

    name = factory.LazyFunction(lambda: f"upstream-{uuid.uuid4().hex[:12]}")
    base_url = "https://upstream.test/v1"
    api_key_encrypted = factory.LazyFunction(lambda: secrets.encrypt("sk-upstream"))


class RouteFactory(DjangoModelFactory[Route]):
    class Meta:
        model = Route

    model = factory.SubFactory(LanguageModelFactory)
    upstream = factory.SubFactory(UpstreamFactory)
    upstream_model = "name-there"


def served_route(upstream_id: int, **fields: Any) -> ServedRoute:
    asked: dict[str, Any] = {
        "upstream_name": f"served-{upstream_id}",
        "base_url": "http://127.0.0.1:1/v1",
        "api_key": "sk-upstream",
        "upstream_model": "name-there",
        "on_disconnect": "cancel",
        "quirks": QUIRKS["openai"],
        "max_in_flight": None,
        "priority": 100,
        "weight": 1,
    }
    return ServedRoute(upstream_id=upstream_id, **(asked | fields))


def served_model(**fields: Any) -> ServedModel:
    given: dict[str, Any] = {
        "model_id": "m",
        "description": "",
        "description_fa": "",
        "owned_by": "",
        "created": 0,
        "context_tokens": 10_000,
        "max_output_tokens": 1_000,
        "media_part_tokens": None,
        "takes": frozenset(),
        "rates": TokenRates(template_tokens=64),
        "learned_context_tokens": None,
        "learned_output_tokens": None,
        "output_slice_tokens": 2_048,
        "learned_hidden_tokens": None,
        "price": PriceQuote(1, 1),
        "price_list_id": None,
        "price_valid_from": datetime(2026, 11, 30, tzinfo=UTC),
        "routes": (),
    }
    return ServedModel(**(given | fields))


class UsageRecordFactory(DjangoModelFactory[UsageRecord]):
    """A completed, billed request; its cost follows from its tokens and prices unless it is given."""

    class Meta:
        model = UsageRecord

    id = factory.LazyFunction(uuid.uuid4)
    created_at = factory.LazyFunction(timezone.now)
    user_id = 1
    key_id = 1
    model = "model-a"
    upstream_id = 1
    stream = False
    outcome = UsageRecord.Outcome.COMPLETED
    billed_by = UsageRecord.BilledBy.USAGE
    status = 200
    prompt_tokens = 10
    cached_tokens = 0
    completion_tokens = 5
    input_rial_per_million = 1_000
    output_rial_per_million = 4_000
    cached_input_rial_per_million = 250
    total_ms = 120

    @factory.lazy_attribute
    def cost_micro(self: Any) -> int:
        return int(
            (self.prompt_tokens - self.cached_tokens) * self.input_rial_per_million
            + self.cached_tokens * self.cached_input_rial_per_million
            + self.completion_tokens * self.output_rial_per_million
        )
