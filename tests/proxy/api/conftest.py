"""The API as its users meet it: a real web process, a real upstream server, real engines.

One web process and one upstream serve a whole run (what they serve is made before they start); every test gets a
key and a wallet of its own, and the ledger is checked after each.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from pytest_django import DjangoDbBlocker

from keys import lifecycle
from proxy.catalogue import secrets
from proxy.catalogue.models import LanguageModel, Route
from proxy.catalogue.models import Upstream as UpstreamRow
from proxy.catalogue.prices.models import Price
from proxy.usage.models import UsageRecord
from tests.factories import TierFactory, UserFactory, WalletFactory, remove_tier
from tests.fake_upstream import FakeUpstream
from tests.live import WebProcess, eventually, free_port, web_process
from wallet.ledger.models import Wallet

MODEL, DRAINED_MODEL, DEAD_MODEL, FREE_MODEL = "test/model-1", "drained", "dead", "free"
OVERRUN_MODEL = "overrun"  # of what exceeds its declarations: the platform learns from it
TOLD_MODEL = "told"  # of what reports prompts of any length, none of which is news
LONG_MODEL = "long"  # whose answers may be as long as any
SLICED_MODEL = "sliced"  # whose answers are held for in slices of SLICE tokens
HIDING_MODEL = "hiding"  # the same, of an upstream that does not show all it bills
SLICE = 100
TEXT_MODEL, EMBEDDING_MODEL = "text", "embedding"
MODERATION_MODEL = "moderation"  # whose requests cost REQUEST_PRICE Rial each
OPEN_MODERATION_MODEL = "open-moderation"  # whose requests cost nothing
REQUEST_PRICE = 7
WHOLE_LIST_MODEL = "whole-list"  # whose price list has more than three components
WHOLE_LIST = {
    "components": {"reasoning": 2_000, "request": 7},
    "tiers": [{"above_tokens": 50, "components": {"input": 5_000, "output": 9_000}}],
}
INPUT_PRICE, OUTPUT_PRICE, CACHED_PRICE = 1_000, 3_000, 250
MAX_OUTPUT = 1_000
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeUpstream]:
    upstream = FakeUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, upstream: FakeUpstream
) -> Iterator[WebProcess]:
    with django_db_blocker.unblock():
        add_model(MODEL, upstream.url)
        add_model(DRAINED_MODEL, upstream.url, on_disconnect="drain")
        add_model(DEAD_MODEL, f"http://127.0.0.1:{free_port()}/v1")
        add_model(OVERRUN_MODEL, upstream.url)
        add_model(TOLD_MODEL, upstream.url, template_tokens=50_000)
        add_model(LONG_MODEL, upstream.url, context_tokens=50_000_000, max_output_tokens=50_000_000)
        sliced: dict[str, Any] = {"output_slice_tokens": SLICE, "max_output_tokens": 50_000}
        add_model(SLICED_MODEL, upstream.url, **sliced)
        add_model(HIDING_MODEL, upstream.url, **sliced)
        add_model(FREE_MODEL, upstream.url, prices=(0, 0, None))
        add_model(WHOLE_LIST_MODEL, upstream.url, further=WHOLE_LIST)
        add_served_at("completions", TEXT_MODEL, upstream.url, output_slice_tokens=SLICE)
        add_served_at("embeddings", EMBEDDING_MODEL, upstream.url)
        of_requests = {"components": {"request": REQUEST_PRICE}}
        add_served_at("moderations", MODERATION_MODEL, upstream.url, further=of_requests)
        add_served_at("moderations", OPEN_MODERATION_MODEL, upstream.url, takes_images=False)
    limits = {
        "METRICS_TOKEN": "scraper",
        "BODY_IDLE_TIMEOUT_SECONDS": "2",
        "BODY_MAX_BYTES": "2000000",
        "UPSTREAM_IDLE_TIMEOUT_SECONDS": "2",
        "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "2",
    }
    with django_db_blocker.unblock(), web_process(env=limits) as process:
        yield process
        take_off_sale(TEXT_MODEL, EMBEDDING_MODEL, MODERATION_MODEL, OPEN_MODERATION_MODEL)
        take_off_sale(MODEL, DRAINED_MODEL, DEAD_MODEL, OVERRUN_MODEL, TOLD_MODEL, LONG_MODEL, FREE_MODEL)


def add_model(
    model_id: str,
    url: str,
    *,
    on_disconnect: str = "cancel",
    prices: tuple[int, int, int | None] = (INPUT_PRICE, OUTPUT_PRICE, CACHED_PRICE),
    further: dict[str, Any] | None = None,
    protocols: Sequence[str] = ("chat",),
    **declared: Any,
) -> None:
    sizes = {"context_tokens": 100_000, "max_output_tokens": MAX_OUTPUT, "template_tokens": 64} | declared
    model = LanguageModel.objects.create(model_id=model_id, **sizes)
    Price.objects.create(
        model=model,
        input_rial_per_million=prices[0],
        output_rial_per_million=prices[1],
        cached_input_rial_per_million=prices[2],
        further=further,
    )
    row = UpstreamRow.objects.create(
        name=f"upstream of {model_id}",
        base_url=url,
        api_key_encrypted=secrets.encrypt("sk-upstream-secret"),
        on_disconnect=on_disconnect,
    )
    costs = {"currency": "usd", "components": {"input": 2_500_000, "output": 10_000_000}} if further else None
    Route.objects.create(
        model=model, upstream=row, upstream_model="up-model", upstream_prices=costs, protocols=list(protocols)
    )


def add_served_at(endpoint: str, model_id: str, url: str, **declared: Any) -> None:
    """A model of one endpoint, which its upstream speaks."""
    add_model(model_id, url, endpoints=[endpoint], protocols=[endpoint], **declared)


def take_off_sale(*model_ids: str) -> None:
    """At the end of the tests that made them: every later page and process would have them to show and to read."""
    LanguageModel.objects.filter(model_id__in=model_ids).update(is_active=False)


@dataclass
class Caller:
    """Somebody with a key. `http` is bound to the API with it, `sdk` is the official client."""

    key: str
    key_id: int
    wallet: Wallet
    web: WebProcess
    clients: ExitStack

    @property
    def http(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.web.url}/v1", headers={"Authorization": f"Bearer {self.key}"}, timeout=30
        )

    @property
    def sdk(self) -> openai.OpenAI:
        """Closed after the test: left to the collector, its connections would complain in some later test."""
        client = openai.OpenAI(api_key=self.key, base_url=f"{self.web.url}/v1", max_retries=0)
        return self.clients.enter_context(client)

    def ask(self, **fields: Any) -> httpx.Response:
        with self.http as http:
            return http.post("/chat/completions", json={"model": MODEL, "messages": HELLO, **fields})

    def balance(self) -> tuple[int, int]:
        """Posted and held, in micro-Rial."""
        self.wallet.refresh_from_db()
        return self.wallet.posted_micro, self.wallet.held_micro

    def usage(self) -> UsageRecord:
        """The one usage record."""
        return UsageRecord.objects.get(key_id=self.key_id)


def served_without_valkey(web: WebProcess) -> float:
    """How many requests this process has admitted by its own windows so far."""
    answer = httpx.get(f"{web.url}/metrics", headers={"Authorization": "Bearer scraper"}, timeout=30)
    lines = (line.partition(" ") for line in answer.text.splitlines())
    return next(float(value) for name, _, value in lines if name == "hamiran_limits_without_valkey_total")


CREDIT = 10**12


@pytest.fixture
def make_caller(committed_db: None, web: WebProcess, upstream: FakeUpstream) -> Iterator[Any]:
    """`make_caller(credit_micro=…, rpm=…, tpm=…, concurrency=…)`; afterwards each of their wallets must be at peace."""
    made: list[Caller] = []
    upstream.reset()

    def make(*, credit_micro: int = CREDIT, **limits: Any) -> Caller:
        tier = TierFactory.create(**limits)
        wallet = WalletFactory.create(user=UserFactory.create(tier=tier), credit_micro=credit_micro)
        created = lifecycle.create(user_id=wallet.pk, name="test")
        made.append(Caller(created.secret, created.key_id, wallet, web, clients))
        return made[-1]

    with ExitStack() as clients:
        yield make
    for caller in made:
        assert_at_peace(caller.wallet)
        remove_tier(caller.wallet.user)


def assert_at_peace(wallet: Wallet) -> None:
    """No hold left open, and posted = Σ entries = credits − Σ usage. A client that left does not see the end: wait."""
    eventually(lambda: not wallet.holds.exists())
    wallet.refresh_from_db()
    assert wallet.held_micro == 0
    entries = list(wallet.entries.all())
    assert wallet.posted_micro == sum(entry.amount_micro for entry in entries)
    used = sum(record.cost_micro for record in UsageRecord.objects.filter(user_id=wallet.pk))
    assert used == -sum(entry.amount_micro for entry in entries if entry.kind == "completion")


@pytest.fixture
def caller(make_caller: Any) -> Caller:
    caller: Caller = make_caller()
    return caller


@pytest.fixture
def sdk(caller: Caller) -> Iterator[openai.OpenAI]:
    """The caller's official client, closed afterwards."""
    with caller.sdk as client:
        yield client
