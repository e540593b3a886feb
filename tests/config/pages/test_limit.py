"""Pages: so many a minute for an address, and the front page made once for many."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.test import AsyncClient

from accounts.models import Tier
from config.pages import limit as page_limit
from config.pages.limit import PageLimit


class Pages:
    """Stands in for Django: what it was asked for, and how many at the same time at most."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.running = self.peak = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        self.running += 1
        self.peak = max(self.peak, self.running)
        await self.may_end.wait()
        self.running -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})


class Visitor(AsyncClient):
    """Somebody who comes through a web process that keeps these pages."""

    def __init__(self, kept: dict[Any, Any], **options: Any) -> None:
        super().__init__(**options)
        self.kept = kept

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        scope = super()._base_scope(**request)  # type: ignore[misc]  # the stubs do not know it
        return {**scope, "hamiran.front_pages": self.kept}


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come true")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_limit, "PAGES_PER_MINUTE", 3)
    monkeypatch.setattr(page_limit, "REFUSAL_DELAY_SECONDS", 0)


async def opened(
    limit: PageLimit, path: str, *, address: str = "192.0.2.1", method: str = "GET", cookie: bytes = b""
) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"path": path, "client": (address, 1), "method": method, "headers": [(b"cookie", cookie)]}
    await limit(scope, lambda: None, send)
    return sent


async def test_an_address_that_opens_them_in_a_loop_is_refused_before_django() -> None:
    pages = Pages()
    limit = PageLimit(pages)
    for path in ("/", "/sign-in/", "/admin/login/"):
        assert (await opened(limit, path))[0]["status"] == 200
    start, body = await opened(limit, "/sign-in/", cookie=b"a=b; hamiran_language=en")
    assert start["status"] == 429
    assert 0 < int(dict(start["headers"])[b"retry-after"]) <= 60
    assert b"wait a minute and try again" in body["body"]
    assert (await opened(limit, "/sign-in/", method="HEAD"))[1]["body"] == b""
    assert len(pages.asked) == 3
    assert (await opened(limit, "/sign-in/", address="192.0.2.2"))[0]["status"] == 200
    for _ in range(5):  # others have a limit of their own
        assert (await opened(limit, "/keys/"))[0]["status"] == 200


async def test_all_other_pages_have_a_wider_limit_those_that_there_are_not_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_limit, "OTHERS_PER_MINUTE", 4)
    pages = Pages()
    limit = PageLimit(pages)
    for path in ("/docs/", "/models/", "/keys/", "/nothing/here/"):
        assert (await opened(limit, path))[0]["status"] == 200
    for path in ("/docs/", "/nothing/there/"):
        assert (await opened(limit, path))[0]["status"] == 429
    assert (await opened(limit, "/sign-in/"))[0]["status"] == 200
    for _ in range(9):  # what a page is made of
        assert (await opened(limit, "/static/hamiran.css"))[0]["status"] == 200
    assert (await opened(limit, "/docs/", address="192.0.2.2"))[0]["status"] == 200


@pytest.mark.parametrize("path", ["/sign-in/", "/docs/", "/models/"])
async def test_few_are_made_at_once_and_a_form_waits_for_none(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(page_limit, "PAGES_PER_MINUTE", 100)
    pages = Pages()
    pages.may_end.clear()
    limit = PageLimit(pages)
    waiting = [asyncio.create_task(opened(limit, path)) for _ in range(20)]
    await until(lambda: len(pages.asked) == page_limit.AT_ONCE)
    form = asyncio.create_task(opened(limit, "/sign-in/", method="POST"))
    await until(lambda: len(pages.asked) == page_limit.AT_ONCE + 1)
    pages.may_end.set()
    await asyncio.gather(*waiting, form)
    assert pages.peak == page_limit.AT_ONCE + 1
    assert len(pages.asked) == 21


async def test_the_front_page_is_made_once_for_each_look_and_fits_every_visitor(committed_db: None) -> None:
    kept: dict[Any, Any] = {}
    tokens = set()
    for _ in range(2):
        visitor = Visitor(kept, enforce_csrf_checks=True)
        page = await visitor.get("/")
        assert page.status_code == 200
        token = page.content.decode().partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        tokens.add(token)
        chosen = await visitor.post("/theme/", {"theme": "dark", "next": "/", "csrfmiddlewaretoken": token})
        assert chosen.status_code == 302
        assert "Cookie" in page.headers["Vary"]
        assert "private" in page.headers["Cache-Control"]
        assert 'data-theme="dark"' in (await visitor.get("/")).content.decode()
    assert len(tokens) == 2
    assert len(kept) == 2

    later, default = Visitor(kept), Tier.objects.filter(is_default=True)
    name = (await default.aget()).name
    await default.aupdate(name="Renamed")
    try:
        assert "Renamed" not in (await later.get("/")).content.decode()
        kept.clear()
        assert "Renamed" in (await later.get("/")).content.decode()
    finally:  # committed: asynchronous code has a connection of its own
        await default.aupdate(name=name)
