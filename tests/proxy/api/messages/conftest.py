"""Models whose upstream speaks Messages, chat, or both; and what calls them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from tests.fake_upstream import FakeUpstream
from tests.live import WebProcess, eventually
from tests.proxy.api.conftest import HELLO, MODEL, SLICE, Caller, add_model, take_off_sale

NATIVE_MODEL, SLICED_NATIVE_MODEL = "native", "sliced-native"
SHORT_MODEL = "short"  # that reads texts of at most 2,000 tokens
PRICES = {"components": {"cache_write_5m": 1_250, "cache_write_1h": 2_000}}


@pytest.fixture(scope="session")
def native_models(
    web: WebProcess, upstream: FakeUpstream, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    with django_db_blocker.unblock():
        speaks: dict[str, Any] = {"protocols": ["messages"], "further": PRICES}
        add_model(NATIVE_MODEL, upstream.url, **speaks)
        add_model(
            SLICED_NATIVE_MODEL, upstream.url, output_slice_tokens=SLICE, max_output_tokens=50_000, **speaks
        )
        add_model(SHORT_MODEL, upstream.url, context_tokens=2_000, takes_images=False)
        yield
        take_off_sale(NATIVE_MODEL, SLICED_NATIVE_MODEL, SHORT_MODEL)


@dataclass
class Messenger:
    """Somebody who calls the Messages API."""

    caller: Caller

    def post(self, path: str = "", *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"model": MODEL, "max_tokens": 50, "messages": HELLO, **fields}
        return self.post_raw({name: value for name, value in body.items() if value is not ...}, path, headers)

    def post_raw(self, body: Any, path: str = "", headers: dict[str, str] | None = None) -> httpx.Response:
        sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        url = f"{self.caller.web.url}/v1/messages{path}"
        return httpx.post(url, headers={"x-api-key": self.caller.key, **(headers or {})}, timeout=30, **sent)


@pytest.fixture
def make_messenger(native_models: None, make_caller: Callable[..., Caller]) -> Callable[..., Messenger]:
    def make(**limits: Any) -> Messenger:
        caller = make_caller(**limits)
        with caller.http as http:
            eventually(lambda: http.get(f"/models/{SHORT_MODEL}").status_code == 200)
        return Messenger(caller)

    return make


@pytest.fixture
def messenger(make_messenger: Callable[..., Messenger]) -> Messenger:
    return make_messenger()
