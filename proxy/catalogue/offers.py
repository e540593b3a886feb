"""What admins and operators put on sale: models, the upstreams that serve them, and prices from a moment on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from proxy.catalogue import announcements, quirks, secrets
from proxy.catalogue.endpoints import CHAT, needs, served_by, unserved
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.prices import dollar_basis, price_rules, price_shape
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.request_fields import AUDIO, FILE, IMAGE, TOOLS
from proxy.catalogue.served import quote
from proxy.catalogue.upstream_url import validate_upstream_url

CONTEXT_TOKENS = 128_000
MAX_OUTPUT_TOKENS = 8_192
OPENAI_HOST = "api.openai.com"  # its newer models refuse `max_tokens`


@dataclass(frozen=True, slots=True)
class Offer:
    """What is on sale after `add_model`."""

    model: str
    upstream: str
    upstream_url: str
    upstream_model: str
    kind: str
    limit_field: str
    on_disconnect: str
    endpoints: list[str]
    protocols: list[str]
    context_tokens: int
    max_output_tokens: int
    input_rial_per_million: int
    output_rial_per_million: int
    cached_input_rial_per_million: int | None
    further: dict[str, Any] | None


class ListIsLonger(ValueError):
    """Only input and output are given, and the model's list says more: what becomes of the rest?"""


class Unservable(ValueError):
    """No route of a model speaks what some of its endpoints need."""

    def __init__(self, model_id: str, endpoints: list[str]) -> None:
        super().__init__(f"No route of {model_id} can serve {', '.join(endpoints)}: {needs(endpoints)}.")


def add_model(
    *,
    model_id: str,
    upstream_url: str,
    upstream_key: str,
    upstream_model: str | None = None,
    price: PriceQuote,
    is_whole_list: bool = False,
    context_tokens: int | None = None,
    max_output_tokens: int | None = None,
    takes: frozenset[str] | None = None,
    kind: Upstream.Kind | None = None,
    limit_field: Upstream.LimitField | None = None,
    on_disconnect: Upstream.OnDisconnect | None = None,
    endpoints: list[str] | None = None,
    protocols: list[str] | None = None,
    jump_meant: bool = False,
    free_meant: bool = False,
) -> Offer:
    """Puts a model on sale, or changes what it is: afterwards it is served at this upstream for this price.

    What is None stays as it is; a new model gets the defaults above and its own name upstream. Unless `price`
    `is_whole_list`, it is two prices: where these stay, so does the rest of the list. `takes`: inputs beside text, of
    proxy.catalogue.request_fields. `protocols` are what this upstream speaks for the model; a new model is served at
    every endpoint that they can serve, unless `endpoints` says otherwise. An upstream with the same URL and key is
    shared; `kind`, `limit_field` and `on_disconnect` are that upstream's.

    Opens a transaction. Raises UnsafeURL, ValidationError, ListIsLonger, Unservable; price_rules.NotConfirmed
    for a price that has to be meant, and is not.
    """
    base_url = validate_upstream_url(upstream_url)  # calls the resolver, so before the transaction
    with transaction.atomic():
        model = LanguageModel.objects.select_for_update(no_key=True).filter(model_id=model_id).first()
        if model is None:
            model = LanguageModel(
                model_id=model_id,
                context_tokens=CONTEXT_TOKENS,
                max_output_tokens=MAX_OUTPUT_TOKENS,
                endpoints=served_by(protocols or [CHAT]),
            )
        model.endpoints = endpoints or model.endpoints
        model.is_active = True
        model.context_tokens = context_tokens or model.context_tokens
        model.max_output_tokens = max_output_tokens or model.max_output_tokens
        if takes is not None:
            model.takes_images, model.takes_audio = IMAGE in takes, AUDIO in takes
            model.takes_files, model.takes_tools = FILE in takes, TOOLS in takes
        model.full_clean()
        model.save()
        upstream = _upstream(base_url, upstream_key)
        upstream.is_active = True
        upstream.kind = kind or upstream.kind
        if upstream.pk is None:
            upstream.on_disconnect = disconnect_rule(upstream.kind)
        upstream.limit_field = limit_field or upstream.limit_field
        upstream.on_disconnect = on_disconnect or upstream.on_disconnect
        upstream.save()
        route = point_route(
            model=model, upstream=upstream, upstream_model=upstream_model, protocols=protocols
        )
        spoken = Route.objects.filter(model=model).values_list("protocols", flat=True)
        if missing := unserved(model.endpoints, spoken):
            raise Unservable(model.model_id, missing)
        current = current_price(model=model, now=timezone.now())
        before = None if current is None else quote(current)
        if before is not None and not is_whole_list and _same_two(before, price):
            price = before
        elif before is not None and not is_whole_list and not before.is_plain:
            raise ListIsLonger(model.model_id)
        if price != before:
            price_rules.check(before, price, jump_meant=jump_meant, free_meant=free_meant)
            set_price(model=model, price=price)
    return Offer(
        model=model.model_id,
        upstream=upstream.name,
        upstream_url=upstream.base_url,
        upstream_model=route.upstream_model,
        kind=upstream.kind,
        limit_field=upstream.limit_field,
        on_disconnect=upstream.on_disconnect,
        endpoints=model.endpoints,
        protocols=route.protocols,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        **price_shape.columns(price),
    )


def current_price(*, model: LanguageModel, now: datetime) -> Price | None:
    return Price.objects.filter(model=model, valid_from__lte=now).order_by("-valid_from").first()


def set_price(
    *,
    model: LanguageModel,
    price: PriceQuote,
    valid_from: datetime | None = None,
    basis: DollarBasis | None = None,
) -> bool:
    """Prices a model from `valid_from` (now) on, with a new row; False if that price holds then already.

    Needs an open transaction that locks the model.
    """
    valid_from = valid_from or timezone.now()
    current = current_price(model=model, now=valid_from)
    is_known = current is not None and quote(current) == price
    if current is not None and is_known and dollar_basis.read(current.dollar_basis) == basis:
        return False
    write_list(model=model, price=price, valid_from=valid_from, basis=basis)
    return True


def write_list(
    *, model: LanguageModel, price: PriceQuote, valid_from: datetime, basis: DollarBasis | None = None
) -> Price:
    """Needs an open transaction that locks the model."""
    written = Price.objects.create(
        model=model,
        valid_from=valid_from,
        dollar_basis=dollar_basis.stored(basis),
        **price_shape.columns(price),
    )
    announcements.announce(written)
    return written


def point_route(
    *,
    model: LanguageModel,
    upstream: Upstream,
    upstream_model: str | None = None,
    protocols: list[str] | None = None,
) -> Route:
    """Makes the model's first route lead to `upstream`; its other routes stay as they are, behind it.

    Without `upstream_model` or `protocols`, a route that already leads there keeps its own; any other gets the model's
    name, and chat.
    """
    first = Route.objects.filter(model=model).order_by("priority", "id").first() or Route(model=model)
    same = Route.objects.filter(model=model, upstream=upstream).first()
    if same is not None and same.pk != first.pk:
        same.delete()  # a model has one route to an upstream: the first one takes over its place
    first.upstream_model = upstream_model or (same.upstream_model if same else model.model_id)
    first.protocols = protocols or (same.protocols if same else [CHAT])
    first.upstream = upstream
    first.full_clean()
    first.save()
    return first


def _same_two(one: PriceQuote, other: PriceQuote) -> bool:
    return (one.input_rial_per_million, one.output_rial_per_million) == (
        other.input_rial_per_million,
        other.output_rial_per_million,
    )


def _upstream(base_url: str, api_key: str) -> Upstream:
    """The upstream with this URL and key, else a new one named after the host."""
    taken = set()
    for upstream in Upstream.objects.select_for_update(no_key=True).order_by("id"):
        taken.add(upstream.name)
        if upstream.base_url == base_url and secrets.decrypt(upstream.api_key_encrypted) == api_key:
            return upstream
    host = urlsplit(base_url).netloc[:50]
    names = (host if number == 1 else f"{host} {number}" for number in range(1, len(taken) + 2))
    name = next(name for name in names if name not in taken)
    return Upstream(
        name=name,
        base_url=base_url,
        api_key_encrypted=secrets.encrypt(api_key),
        limit_field=limit_name(base_url),
    )


def disconnect_rule(kind: str) -> Upstream.OnDisconnect:
    """What a new upstream of this kind does when a client disconnects, unless the admin says otherwise."""
    rules = quirks.QUIRKS.get(kind)
    bills_after_disconnect = rules is not None and rules.bills_after_disconnect
    return Upstream.OnDisconnect.DRAIN if bills_after_disconnect else Upstream.OnDisconnect.CANCEL


def limit_name(base_url: str) -> Upstream.LimitField:
    """The name of the cap that a new upstream at this URL obeys, unless the admin says otherwise."""
    is_openai = urlsplit(base_url).hostname == OPENAI_HOST
    return Upstream.LimitField.MAX_COMPLETION_TOKENS if is_openai else Upstream.LimitField.MAX_TOKENS
