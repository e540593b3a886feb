"""What the API reference tells that is not prose: this installation's models, tiers and errors, and its examples."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import Tier, User
from accounts.signals.events import Event
from keys import lookup, reading
from keys.reading import ListedKey
from proxy.advice import ADVICE, anchor
from proxy.api.openapi import samples
from proxy.catalogue import served as catalogue
from proxy.catalogue import starter
from proxy.catalogue.endpoints import CHAT
from proxy.catalogue.price_list import PricedModel, price_list
from proxy.catalogue.served import ServedModel
from proxy.catalogue.tokens import OUTPUT_FLOOR_TOKENS
from proxy.dashboard.docs import account_examples, examples, webhooks
from proxy.dashboard.docs.account_examples import AccountExample
from proxy.dashboard.docs.agents import AGENTS, ASKED, Asked
from proxy.dashboard.docs.examples import Example
from proxy.dashboard.docs.webhooks import EventRow, Verifier
from proxy.errors import ERRORS, APIError
from proxy.http import json_bounds
from proxy.http.responses import COST_HEADER
from proxy.limits import intake, reads
from proxy.metering.relay import USAGE_WAIT_SECONDS
from wallet.signals import EMPTY_MICRO


@dataclass(frozen=True, slots=True)
class ErrorRow:
    status: int
    code: str
    type: str
    message: str
    advice: Promise
    anchor: str


@dataclass(frozen=True, slots=True)
class EndpointRow:
    path: str
    purpose: Promise
    charged: Promise


TOKENS = _("tokens")
ENDPOINTS = (
    EndpointRow(
        "/v1/chat/completions", _("OpenAI's chat completions, as nearly every program calls them"), TOKENS
    ),
    EndpointRow("/v1/responses", _("OpenAI's Responses: Codex, the AI SDK, agents"), TOKENS),
    EndpointRow(
        "/v1/messages",
        _("Anthropic's Messages: Claude Code and Anthropic's SDKs"),
        _("tokens, those of caches apart"),
    ),
    EndpointRow("/v1/messages/count_tokens", _("how long a prompt is"), _("nothing")),
    EndpointRow("/v1/completions", _("OpenAI's legacy completions of a text"), TOKENS),
    EndpointRow("/v1/embeddings", _("vectors of texts"), _("tokens of the input")),
    EndpointRow("/v1/moderations", _("what a text or an image is about"), _("the request")),
    EndpointRow(
        "/v1/images/generations", _("images from a text"), _("the image of a size and quality, or tokens")
    ),
    EndpointRow(
        "/v1/images/edits",
        _("images from images and a text"),
        _("the image of a size and quality, or tokens"),
    ),
    EndpointRow("/v1/audio/transcriptions", _("what is said in a file"), _("the second of sound, or tokens")),
    EndpointRow("/v1/audio/translations", _("the same in English"), _("the second of sound, or tokens")),
    EndpointRow(
        "/v1/audio/speech", _("a text, spoken"), _("the character of the text and of instructions, or tokens")
    ),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The sizes and times of "What you can rely on", as they are set here."""

    account_factor: int
    answer_seconds: int
    stream_seconds: int
    ping_seconds: int
    usage_wait_seconds: int
    body_idle_seconds: int
    body_total_seconds: int
    containers: int
    values: int
    depth: int
    small_body_kilobytes: int
    bytes_per_token: int
    refusals: int
    key_seconds: int
    reads: int


@dataclass(frozen=True, slots=True)
class Reference:
    """`key` is what the examples have in a key's place. What ends in `_example` is JSON, written for people."""

    models: list[PricedModel]
    tiers: list[Tier]
    own_tier: Tier | None
    own_key: ListedKey | None
    key: str
    model_id: str
    error_example: str
    answer_example: str
    usage_example: str
    error_event: str
    models_example: str
    errors: list[ErrorRow]
    endpoints: Sequence[EndpointRow]
    agents: Sequence[str]
    asked: Sequence[Asked]
    examples: Sequence[Example]
    example: str
    account_examples: Sequence[AccountExample]
    cost_header: str
    bounds: Bounds
    output_floor: int
    webhook_example: str
    webhook_events: Sequence[EventRow]
    webhook_verifiers: Sequence[Verifier]
    webhook_empty_micro: int
    body_max_megabytes: int
    slow_reader_seconds: int


def build(*, user_id: int | None, example: str | None, now: datetime, language: str | None) -> Reference:
    """The reference for whoever reads it (None: a stranger), opened at the example that was chosen before."""
    served = list(catalogue.load(now).values())
    chats = catalogue.at(served, CHAT)
    model_id, price = (chats[0].model_id, chats[0].price) if chats else (starter.MODEL_ID, starter.PRICE)
    own_key = None if user_id is None else reading.newest_working(user_id=user_id)
    key = f"hm-…{own_key.last_four}" if own_key else examples.KEY
    tiers = list(Tier.objects.all())
    own_tier = None if user_id is None else User.objects.select_related("tier").get(pk=user_id).tier
    return Reference(
        models=price_list(served, language=language),
        tiers=tiers,
        own_tier=own_tier,
        own_key=own_key,
        key=key,
        model_id=model_id,
        error_example=_pretty(APIError("invalid_api_key").body()),
        answer_example=_pretty(samples.answer(model_id, price)),
        usage_example=_terse(samples.usage(price)),
        error_event=_terse(APIError("upstream_error").body()),
        models_example=_pretty({"object": "list", "data": [_model(model) for model in served[:2]]}),
        errors=errors(),
        endpoints=ENDPOINTS,
        agents=AGENTS,
        asked=ASKED,
        examples=[
            each.written(base_url=settings.BASE_URL, key=key, model_id=model_id) for each in examples.EXAMPLES
        ],
        example=example if example in {each.slug for each in examples.EXAMPLES} else examples.CURL.slug,
        account_examples=account_examples.written(base_url=settings.BASE_URL, key=key, model_id=model_id),
        cost_header=COST_HEADER,
        bounds=_bounds(own_tier or next(tier for tier in tiers if tier.is_default)),
        output_floor=OUTPUT_FLOOR_TOKENS,
        webhook_example=_pretty(
            {"type": Event.BALANCE_LOW, "timestamp": webhooks.MOMENT, "data": webhooks.BALANCE}
        ),
        webhook_events=[
            EventRow(row.event, row.meaning, _terse(row.data)) for row in webhooks.rows(model_id=model_id)
        ],
        webhook_verifiers=webhooks.VERIFIERS,
        webhook_empty_micro=EMPTY_MICRO,
        body_max_megabytes=settings.BODY_MAX_BYTES // 2**20,
        slow_reader_seconds=settings.CLIENT_WRITE_TIMEOUT_SECONDS,
    )


def _bounds(tier: Tier) -> Bounds:
    return Bounds(
        account_factor=tier.account_factor,
        answer_seconds=settings.UPSTREAM_TOTAL_TIMEOUT_SECONDS,
        stream_seconds=settings.UPSTREAM_STREAM_TIMEOUT_SECONDS,
        ping_seconds=settings.STREAM_PING_SECONDS,
        usage_wait_seconds=round(USAGE_WAIT_SECONDS),
        body_idle_seconds=settings.BODY_IDLE_TIMEOUT_SECONDS,
        body_total_seconds=settings.BODY_TOTAL_TIMEOUT_SECONDS,
        containers=json_bounds.CONTAINERS_MAX,
        values=json_bounds.VALUES_MAX,
        depth=json_bounds.DEPTH_MAX,
        small_body_kilobytes=intake.SMALL_BODY_BYTES // 1024,
        bytes_per_token=intake.BYTES_PER_TOKEN,
        refusals=intake.MIN_REFUSALS,
        key_seconds=round(lookup.MAX_AGE_SECONDS),
        reads=reads.PER_MINUTE,
    )


def errors() -> list[ErrorRow]:
    """Every error of the API, in the order of `proxy.errors`."""
    return [
        ErrorRow(status, code, kind, message, ADVICE[code], anchor(code))
        for code, (status, kind, message) in ERRORS.items()
    ]


def _model(model: ServedModel) -> dict[str, object]:
    return {"id": model.model_id, "object": "model", "created": model.created, "owned_by": model.owned_by}


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _terse(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
