"""What is on sale now, as the API reads it: models with their current price and the routes that serve them."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import connection
from django.utils import timezone

from proxy.catalogue import endpoints, quirks, secrets
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.prices import dollar_basis, price_shape, upstream_price
from proxy.catalogue.prices.dated_price import DatedPrice
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.models import Price, PriceColumns
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.upstream_price import UpstreamPrice
from proxy.catalogue.request_fields import AUDIO, FILE, IMAGE, TOOLS
from proxy.catalogue.tokens import TokenRates

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0  # with the time a load takes, any change is live within 5 s


@dataclass(frozen=True, slots=True)
class ServedRoute:
    """Where a model is served. `base_url` has no trailing slash; `on_disconnect` is `cancel` or `drain`.

    Routes of the lowest `priority` share the traffic by `weight`; the others wait behind them. `max_in_flight` is
    the limit of calls that one process has there at once. `protocols`: what it speaks (proxy.catalogue.endpoints).
    """

    upstream_id: int
    upstream_name: str
    base_url: str
    api_key: str = field(repr=False)
    upstream_model: str
    on_disconnect: str
    quirks: quirks.Quirks
    max_in_flight: int | None
    priority: int
    weight: int
    upstream_price: UpstreamPrice | None = None
    protocols: frozenset[str] = frozenset({endpoints.CHAT})


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on sale. `created` is in Unix seconds. A request that keeps this object keeps its price list.

    `takes`: the inputs beside text (proxy.api.chat_completions.request). `learned_…`: what an upstream reported
    above what is declared here, above the cap that it was sent, or beyond what it showed. `routes`: at
    least one, by priority. `endpoints`: where it is served, each by some route. `announced`: price lists to come.
    """

    model_id: str
    description: str
    description_fa: str
    owned_by: str
    created: int
    context_tokens: int
    max_output_tokens: int
    media_part_tokens: int | None
    takes: frozenset[str]
    rates: TokenRates
    learned_context_tokens: int | None
    learned_output_tokens: int | None
    output_slice_tokens: int | None
    learned_hidden_tokens: int | None
    price: PriceQuote
    price_list_id: int | None
    price_valid_from: datetime
    routes: tuple[ServedRoute, ...]
    dollar_basis: DollarBasis | None = None
    endpoints: frozenset[str] = frozenset(endpoints.DEFAULT_ENDPOINTS)
    announced: tuple[DatedPrice, ...] = ()

    @property
    def longest_prompt_tokens(self) -> int:
        """The context: as it is declared, or as it turned out to be."""
        return max(self.context_tokens, self.learned_context_tokens or 0)

    def at(self, endpoint: str) -> "ServedModel | None":
        """The model with the routes that can serve an endpoint; None where it is not served there."""
        if endpoint not in self.endpoints:
            return None
        routes = tuple(route for route in self.routes if endpoints.serves(endpoint, route.protocols))
        return self if len(routes) == len(self.routes) else replace(self, routes=routes)

    @property
    def stops_when_told(self) -> bool:
        """Whether each upstream of it stops, and then bills no more, when its answer is not wanted any longer."""
        cancel = Upstream.OnDisconnect.CANCEL
        return all(route.on_disconnect == cancel for route in self.routes)


def load(now: datetime) -> dict[str, ServedModel]:
    """Every active model that has a price valid at `now`, and an active upstream that can serve an endpoint of it, by
    model id. Four queries.

    What cannot be used (a secret that no key decrypts, a kind or a price list of a newer version) is left out, and
    logged.
    """
    models = LanguageModel.objects.filter(is_active=True).in_bulk()
    prices = {
        price.model_id: price
        for price in Price.objects.filter(valid_from__lte=now, model__in=models)
        .order_by("model_id", "-valid_from")
        .distinct("model_id")
    }
    announced: dict[int, list[Price]] = {}
    for price in Price.objects.filter(valid_from__gt=now, model__in=models).order_by("valid_from"):
        announced.setdefault(price.model_id, []).append(price)
    routes = (
        Route.objects.filter(model__in=models, upstream__is_active=True)
        .select_related("upstream")
        .order_by("model_id", "priority", "id")
    )
    usable: dict[int, list[ServedRoute]] = {}
    for route in routes:
        try:
            usable.setdefault(route.model_id, []).append(served_route(route))
        except (secrets.Undecryptable, quirks.UnknownKind) as error:
            logger.error(  # noqa: TRY400 - a trace adds nothing
                "%s is not served by %s: %s", models[route.model_id].model_id, route.upstream.name, error
            )
    served = []
    for pk, model in models.items():
        if pk in prices and usable.get(pk):
            try:
                served.append(_served(model, prices[pk], usable[pk], announced.get(pk, ())))
            except ValueError as error:
                logger.error("%s is not on sale: %s", model.model_id, error)  # noqa: TRY400 - likewise
    called = [model for model in served if model.endpoints]
    return {model.model_id: model for model in sorted(called, key=lambda model: model.model_id)}


def at(served: Iterable[ServedModel], endpoint: str) -> list[ServedModel]:
    """Those that are served at an endpoint."""
    return [model for model in served if endpoint in model.endpoints]


class CatalogueCache:
    """The catalogue of one web process, read again in the background every few seconds.

    `is_loaded`: it has been read at least once; what it says before that means nothing.
    """

    def __init__(self, *, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._refresh_seconds = refresh_seconds
        self._served: dict[str, ServedModel] = {}
        self.is_loaded = False
        self._learned: dict[str, dict[str, int]] = {}  # what the database does not say yet
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    def get(self, model_id: str) -> ServedModel | None:
        return self._served.get(model_id)

    def all(self) -> list[ServedModel]:
        """Sorted by model id."""
        return list(self._served.values())

    async def start(self) -> None:
        """Loads once, then keeps loading until `close`. A database that is away is logged and tried again."""
        await self.refresh()
        self._task = asyncio.create_task(self._keep_fresh(), name="catalogue")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def refresh(self) -> None:
        """Reads the catalogue now; on failure the old one stays."""
        try:
            served = await asyncio.to_thread(_load_apart)
            for model_id, found in self._learned.items():
                if model_id in served:
                    served[model_id] = _with_learned(served[model_id], found)
            self._served, self.is_loaded = served, True
        except Exception:
            # Whatever it was, the loop has to go on, and what was on sale a moment ago still is.
            logger.exception("The catalogue could not be read; the last one stays in use.")

    def refresh_soon(self) -> None:
        """Reads the catalogue anew without waiting for its turn."""
        self._wanted.set()

    def learn(self, model_id: str, found: dict[str, int]) -> bool:
        """Uses these figures (columns of LanguageModel) at once, until the database has them: `stored`.

        False if as much is known already.
        """
        model = self._served.get(model_id)
        if model is None or (learned := _with_learned(model, found)) == model:
            return False
        self._served[model_id] = learned
        known = self._learned.setdefault(model_id, {})
        known.update({name: max(value, known.get(name, 0)) for name, value in found.items()})
        return True

    def stored(self, model_id: str, found: dict[str, int]) -> None:
        """The database now has these figures, so that its own count again."""
        known = self._learned.get(model_id, {})
        for name, value in found.items():
            if known.get(name) == value:
                del known[name]

    async def _keep_fresh(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_seconds):
                    await self._wanted.wait()
            self._wanted.clear()
            await self.refresh()


def _load_apart() -> dict[str, ServedModel]:
    # In a pool thread, where nobody else would ever close the connection that Django opens.
    try:
        return load(timezone.now())
    finally:
        connection.close()


def _served(
    model: LanguageModel, price: Price, routes: list[ServedRoute], announced: Iterable[Price]
) -> ServedModel:
    return ServedModel(
        model_id=model.model_id,
        description=model.description,
        description_fa=model.description_fa,
        owned_by=model.owned_by,
        created=int(model.created_at.timestamp()),
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        media_part_tokens=model.media_part_tokens,
        takes=frozenset(
            kind
            for kind, taken in (
                (IMAGE, model.takes_images),
                (AUDIO, model.takes_audio),
                (FILE, model.takes_files),
                (TOOLS, model.takes_tools),
            )
            if taken
        ),
        rates=TokenRates(
            template_tokens=model.template_tokens,
            tokens_per_100_bytes=model.tokens_per_100_bytes,
            tools_tokens_per_100_bytes=model.tools_tokens_per_100_bytes,
        ),
        learned_context_tokens=model.learned_context_tokens,
        learned_output_tokens=model.learned_output_tokens,
        output_slice_tokens=model.output_slice_tokens,
        learned_hidden_tokens=model.learned_hidden_tokens,
        price=quote(price),
        price_list_id=price.pk,
        price_valid_from=price.valid_from,
        routes=tuple(routes),
        dollar_basis=dollar_basis.read(price.dollar_basis),
        endpoints=_endpoints(model, routes),
        announced=tuple(_announced(model, announced)),
    )


def _announced(model: LanguageModel, prices: Iterable[Price]) -> Iterator[DatedPrice]:
    for price in prices:
        try:
            yield dated(price)
        except ValueError as error:  # no reason not to sell at today's price
            logger.error("A price of %s to come is not announced: %s", model.model_id, error)  # noqa: TRY400 - likewise


def _endpoints(model: LanguageModel, routes: list[ServedRoute]) -> frozenset[str]:
    """Those of this version that the routes in use can serve."""
    known = endpoints.ENDPOINTS.keys() & set(model.endpoints)
    return frozenset(known.difference(endpoints.unserved(known, [route.protocols for route in routes])))


def _with_learned(model: ServedModel, found: dict[str, int]) -> ServedModel:
    rates, own = model.rates, {}
    for name, value in found.items():
        if hasattr(rates, name):
            rates = replace(rates, **{name: max(value, getattr(rates, name))})
        else:
            own[name] = max(value, getattr(model, name) or 0)
    return replace(model, rates=rates, **own)  # type: ignore[arg-type]  # all of them are numbers of tokens


def served_route(route: Route) -> ServedRoute:
    upstream = route.upstream
    return ServedRoute(
        upstream_id=upstream.pk,
        upstream_name=upstream.name,
        base_url=upstream.base_url.rstrip("/"),
        api_key=secrets.decrypt(upstream.api_key_encrypted),
        upstream_model=route.upstream_model,
        on_disconnect=upstream.on_disconnect,
        quirks=quirks.rules_for(
            kind=upstream.kind, strip_fields=upstream.strip_fields, limit_field=upstream.limit_field
        ),
        max_in_flight=upstream.max_in_flight,
        priority=route.priority,
        weight=route.weight,
        upstream_price=_upstream_price(route),
        protocols=frozenset(route.protocols),
    )


def _upstream_price(route: Route) -> UpstreamPrice | None:
    try:
        return upstream_price.read(route.upstream_prices)
    except ValueError as error:  # no reason to serve nobody
        logger.error("What %s costs is not known: %s", route.upstream.name, error)  # noqa: TRY400 - likewise
        return None


def dated(price: PriceColumns) -> DatedPrice:
    """As `quote`, with its moment."""
    return DatedPrice(quote(price), price.valid_from, dollar_basis.read(price.dollar_basis))


def quote(price: PriceColumns) -> PriceQuote:
    """A stored price list as a value. Raises ValueError on one that has another shape."""
    return price_shape.read(
        price.input_rial_per_million,
        price.output_rial_per_million,
        price.cached_input_rial_per_million,
        price.further,
    )
