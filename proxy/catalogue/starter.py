"""The catalogue of a new installation, and its one upstream that follows the settings at every start.

Everything else belongs to the admins from the moment it exists: a later load changes none of it.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from proxy.catalogue import secrets
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.offers import disconnect_rule, limit_name, point_route, set_price
from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.upstream_url import validate_upstream_url


@dataclass(frozen=True, slots=True)
class SandboxModel:
    """A model that the sandbox's upstream alone serves, at one endpoint."""

    endpoint: str
    description: str
    description_fa: str
    price: PriceQuote


MODEL_ID = "gemini-3.1-flash-lite-preview"
CONTEXT_TOKENS = 128_000
# Held for requests without max_tokens: more than this would ask too much of a new wallet.
MAX_OUTPUT_TOKENS = 8_192
PRICE = PriceQuote(
    input_rial_per_million=300_000, output_rial_per_million=1_800_000, cached_input_rial_per_million=75_000
)
PRIMARY, SANDBOX = "primary", "sandbox"
SANDBOX_KEY = "sandbox"
# What the sandbox's own upstream answers beside chats.
SANDBOX_MODELS = {
    "hamiran-completion": SandboxModel(
        "completions",
        "Continues a text, in the sandbox only",
        "متن را ادامه می‌دهد؛ فقط در محیط آزمایشی",
        PriceQuote(input_rial_per_million=150_000, output_rial_per_million=600_000),
    ),
    "hamiran-embedding": SandboxModel(
        "embeddings",
        "Turns texts into vectors, in the sandbox only",
        "متن را به بردار تبدیل می‌کند؛ فقط در محیط آزمایشی",
        PriceQuote(input_rial_per_million=20_000, output_rial_per_million=0),
    ),
    "hamiran-moderation": SandboxModel(
        "moderations",
        "Flags harmful texts, in the sandbox only",
        "متن‌های نامناسب را علامت می‌زند؛ فقط در محیط آزمایشی",
        PriceQuote(input_rial_per_million=0, output_rial_per_million=0, further={"request": 50}),
    ),
    "hamiran-image": SandboxModel(
        "images",
        "Draws a gradient, in the sandbox only",
        "یک طیف رنگ می‌کشد؛ فقط در محیط آزمایشی",
        PriceQuote(input_rial_per_million=0, output_rial_per_million=0, further={"image": 40_000}),
    ),
    "hamiran-speech": SandboxModel(
        "speech",
        "Reads a text as tones, in the sandbox only",
        "متن را با نُت می‌خواند؛ فقط در محیط آزمایشی",
        PriceQuote(input_rial_per_million=0, output_rial_per_million=0, further={"character": 18_000_000}),
    ),
    "hamiran-transcription": SandboxModel(
        "transcriptions",
        "Answers a sound with a fixed sentence, in the sandbox only",
        "در پاسخ هر صدا یک جملهٔ ثابت می‌نویسد؛ فقط در محیط آزمایشی",
        PriceQuote(input_rial_per_million=0, output_rial_per_million=0, further={"audio_second": 120}),
    ),
}
GEMINI_HOST = "generativelanguage.googleapis.com"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the starter model is served by after a load; `upstream` is None where only an admin can say."""

    model: str
    upstream: str | None


def load() -> Loaded:
    """Makes what is missing and brings the upstream of the settings up to date. Opens a transaction.

    With UPSTREAM_BASE_URL the starter model's own route leads there, without it to the sandbox's built-in
    upstream. Raises UnsafeURL.
    """
    wanted = _wanted()
    if (
        wanted
        and wanted[0] == PRIMARY
        and not Upstream.objects.filter(name=PRIMARY, base_url=wanted[1]).exists()
    ):
        validate_upstream_url(wanted[1])  # asks the resolver: before the transaction
    with transaction.atomic():
        model, _created = LanguageModel.objects.select_for_update(no_key=True).get_or_create(
            model_id=MODEL_ID,
            defaults={
                "description": "Fast and affordable model for most tasks",
                "description_fa": "مدلی سریع و به‌صرفه برای بیشتر کارها",
                "context_tokens": CONTEXT_TOKENS,
                "max_output_tokens": MAX_OUTPUT_TOKENS,
            },
        )
        if not Price.objects.filter(model=model).exists():
            set_price(model=model, price=PRICE)
        if wanted:
            upstream = _upstream(*wanted)
            _follow_settings(model, upstream)
            if upstream.name == SANDBOX:
                _load_sandbox_models(upstream)
            else:  # nobody who has a model of his own wants these beside it
                Route.objects.filter(
                    model__model_id__in=list(SANDBOX_MODELS), upstream__name=SANDBOX
                ).delete()
    return Loaded(model=MODEL_ID, upstream=wanted[0] if wanted else None)


def _wanted() -> tuple[str, str, str] | None:
    """Name, URL and key of the upstream that the settings ask for."""
    if settings.UPSTREAM_BASE_URL:
        return PRIMARY, settings.UPSTREAM_BASE_URL.rstrip("/"), settings.UPSTREAM_API_KEY
    if settings.SANDBOX:
        return SANDBOX, f"http://127.0.0.1:{settings.PORT}/sandbox/upstream/v1", SANDBOX_KEY
    return None


def _upstream(name: str, base_url: str, api_key: str) -> Upstream:
    upstream = Upstream.objects.select_for_update(no_key=True).filter(name=name).first() or Upstream(
        name=name
    )
    known = _key(upstream)
    if upstream.pk is None or upstream.base_url != base_url or known != api_key:
        if upstream.base_url != base_url:
            is_gemini = urlsplit(base_url).hostname == GEMINI_HOST
            upstream.kind = Upstream.Kind.GEMINI if is_gemini else Upstream.Kind.OPENAI
            upstream.limit_field = limit_name(base_url)
            if upstream.pk is None:
                upstream.on_disconnect = disconnect_rule(upstream.kind)
        upstream.base_url = base_url
        # Always set with the URL: the database refuses a new server with a key that was given for another.
        upstream.api_key_encrypted = secrets.encrypt(api_key)
        upstream.save()
    return upstream


def _load_sandbox_models(upstream: Upstream) -> None:
    for model_id, each in SANDBOX_MODELS.items():
        model, _created = LanguageModel.objects.select_for_update(no_key=True).get_or_create(
            model_id=model_id,
            defaults={
                "description": each.description,
                "description_fa": each.description_fa,
                "endpoints": [each.endpoint],
                "context_tokens": CONTEXT_TOKENS,
                "max_output_tokens": MAX_OUTPUT_TOKENS,
                "takes_images": False,
                "takes_audio": False,
                "takes_files": False,
                "takes_tools": False,
            },
        )
        if not Price.objects.filter(model=model).exists():
            set_price(model=model, price=each.price)
        if not Route.objects.filter(model=model).exists():
            point_route(model=model, upstream=upstream, protocols=[each.endpoint])


def _key(upstream: Upstream) -> str | None:
    try:
        return secrets.decrypt(upstream.api_key_encrypted)
    except secrets.Undecryptable:
        return None  # the settings hold the key: written anew under the present FIELD_KEYS


def _follow_settings(model: LanguageModel, upstream: Upstream) -> None:
    """Points the route that this module made at `upstream`; routes that an admin made are left alone."""
    routes = Route.objects.filter(model=model)
    own = list(routes.filter(upstream__name__in=(PRIMARY, SANDBOX)).order_by("priority", "id"))
    if not own and not routes.exists():
        point_route(model=model, upstream=upstream)
    elif own and all(route.upstream_id != upstream.pk for route in own):
        own[0].upstream, own[0].upstream_model = upstream, model.model_id
        own[0].save()
    elif len(own) > 1:
        for route in own:
            if route.upstream_id != upstream.pk:
                route.delete()
