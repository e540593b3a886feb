"""One model whose upstream speaks Responses itself, beside those of chats."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from pytest_django import DjangoDbBlocker

from tests.fake_upstream import FakeUpstream
from tests.live import WebProcess, eventually
from tests.proxy.api.conftest import MODEL, SLICE, Caller, add_model, take_off_sale

NATIVE_MODEL = "native-responses"
NATIVE_SLICED_MODEL = "native-responses-in-slices"
CALLED = TypeAdapter(ResponseStreamEvent)


@pytest.fixture(scope="package")
def on_sale(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, web: WebProcess, upstream: FakeUpstream
) -> Iterator[None]:
    with django_db_blocker.unblock():
        add_model(NATIVE_MODEL, upstream.url, protocols=("responses",), endpoints=["responses"])
        add_model(
            NATIVE_SLICED_MODEL,
            upstream.url,
            protocols=("responses",),
            endpoints=["responses"],
            output_slice_tokens=SLICE,
            max_output_tokens=50_000,
        )
    yield
    with django_db_blocker.unblock():
        take_off_sale(NATIVE_MODEL, NATIVE_SLICED_MODEL)


@pytest.fixture
def native_model(on_sale: None, caller: Caller) -> str:
    with caller.http as http:
        eventually(lambda: http.get(f"/models/{NATIVE_SLICED_MODEL}").status_code == 200)
    return NATIVE_MODEL


@pytest.fixture
def sdk(caller: Caller) -> Iterator[openai.OpenAI]:
    """The official client, closed in the end."""
    with caller.sdk as client:
        yield client


def ask(caller: Caller, model: str = MODEL, **fields: Any) -> httpx.Response:
    with caller.http as http:
        return http.post("/responses", json={"model": model, "input": "Hello!", **fields})


def events_of(streamed: bytes) -> list[dict[str, Any]]:
    """Of a whole stream, each as the official SDK understands it: by its name and by its data."""
    found = []
    for written in streamed.split(b"\n\n"):
        if not written or written.startswith(b":"):
            continue
        name, data = written.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == f"event: {event['type']}".encode()
        CALLED.validate_python(event)
        found.append(event)
    return found
