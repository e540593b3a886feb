"""How often one address may open pages: asked before Django, a session or the database.

Their views share the processor with the API, and anybody can ask for them in a loop. Who is signed in is known only
after a look at the database, so that all pages have a limit, a wide one; those of signing in have one of their own.
"""

import asyncio
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.template.loader import get_template
from django.utils import translation

from accounts.shared.address_limit import AddressLimit
from config.pages.context import payment_sandbox

# Many people can share an address, and signing in takes five pages.
PAGES_PER_MINUTE = 300
PATHS = frozenset({"/", "/sign-in/", "/sign-in/code/", "/sign-in/code/again/", "/admin/login/"})
OTHERS_PER_MINUTE = 1_200  # of all other pages together, those that there are not among them
OPEN_PATHS = PATHS | {"/models/", "/docs/"}  # rendered for any client
REFUSAL_DELAY_SECONDS = 1.0  # a loop then costs next to nothing
DELAYED_MAX = 1_000  # at once; beyond it the answer is immediate

AT_ONCE = 4  # each is made in a thread, and the API waits for its turn among them

Receive = Callable[[], Any]
Send = Callable[[Any], Any]
Application = Callable[[dict[str, Any], Receive, Send], Any]


class PageLimit:
    """An ASGI application in front of the one that makes the pages."""

    def __init__(self, pages: Application) -> None:
        self._pages = pages
        self._limit = AddressLimit(per_minute=PAGES_PER_MINUTE)
        self._others = AddressLimit(per_minute=OTHERS_PER_MINUTE)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._delayed = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith(settings.STATIC_URL):  # files, which a page has many of
            await self._pages(scope, receive, send)
            return
        limit = self._limit if path in PATHS else self._others
        address = (scope.get("client") or ("",))[0]
        if wait_seconds := limit.wait_seconds(address):
            await self._refuse(scope, send, wait_seconds)
            return
        limit.count(address)
        # A form may wait for an SMS provider, and is limited by its own rules.
        if path not in OPEN_PATHS or scope["method"] == "POST":
            await self._pages(scope, receive, send)
            return
        async with self._turns:
            await self._pages(scope, receive, send)

    async def _refuse(self, scope: dict[str, Any], send: Send, wait_seconds: float) -> None:
        if self._delayed < DELAYED_MAX:
            self._delayed += 1
            try:
                await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            finally:
                self._delayed -= 1
        language = "en" if f"{settings.LANGUAGE_COOKIE_NAME}=en".encode() in _cookies(scope) else "fa"
        body = _page(language)
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"content-language", language.encode()),
            (b"content-security-policy", b"default-src 'none'; style-src 'self'; img-src 'self' data:"),
            (b"cache-control", b"no-store"),
            (b"retry-after", str(math.ceil(wait_seconds)).encode()),
        ]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


def _cookies(scope: dict[str, Any]) -> bytes:
    return b";".join(value for name, value in scope["headers"] if name == b"cookie")


@lru_cache(maxsize=2)
def _page(language: str) -> bytes:
    with translation.override(language):
        return (
            get_template("429_address.html")
            .render({"theme": "system", "payment_sandbox": payment_sandbox()})
            .encode()
        )
