"""llama.cpp's own server with a small model behind a web process, once for all tests of this folder.

LLAMA_PYTHON is a Python that has what server.py needs; without it all of this is skipped.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from tests.live import WebProcess, eventually, free_port, web_process
from tests.proxy.api.conftest import Caller, add_model, take_off_sale

PYTHON = os.environ.get("LLAMA_PYTHON", "")
CHAT, NATIVE, VECTORS = "llama-chat", "llama-native", "llama-vectors"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("proof")
            item.add_marker(pytest.mark.timeout(300))
            if not PYTHON:
                item.add_marker(
                    pytest.mark.skip("LLAMA_PYTHON names no Python with xllamacpp (see server.py beside)")
                )


@pytest.fixture(scope="package")
def llama() -> Iterator[dict[str, str]]:
    """Addresses of the one that writes and of the one that embeds."""
    program = Path(__file__).with_name("server.py")
    ports = {"words": free_port(), "embeddings": free_port()}
    urls = {what: f"http://127.0.0.1:{port}/v1" for what, port in ports.items()}
    with ExitStack() as stack:
        for what, port in ports.items():
            server = subprocess.Popen(
                [PYTHON, str(program), str(port), what], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(server.wait)
            stack.callback(server.kill)
        for url in urls.values():
            eventually(lambda url=url: answers(url), seconds=120)  # type: ignore[misc]
        yield urls


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="package")
def llama_web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, llama: dict[str, str]
) -> Iterator[WebProcess]:
    with django_db_blocker.unblock():
        add_model(CHAT, llama["words"], endpoints=["chat", "messages", "responses"])
        native = ["messages", "responses"]
        add_model(NATIVE, llama["words"], endpoints=native, protocols=native)
        add_model(VECTORS, llama["embeddings"], endpoints=["embeddings"], protocols=["embeddings"])
    with django_db_blocker.unblock(), web_process() as process:
        yield process
        take_off_sale(CHAT, NATIVE, VECTORS)


@pytest.fixture
def caller(caller: Caller, llama_web: WebProcess) -> Caller:
    return replace(caller, web=llama_web)
