"""Clients that never rest: completions, some of them left in the middle, and top-ups with wild callbacks."""

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.chaos.media import Media
from tests.chaos.people import WAYS, People, Person, model_of
from tests.chaos.upstream import Plan, text_of
from tests.dialects import CHAT, COMPLETIONS, Dialect

CLIENT_TIMEOUT_SECONDS = 60
CSRF = "c" * 32
TOPUP_TOMAN = (10_000, 25_000, 60_000)
WANT_OF_MONEY = {"insufficient_balance", "insufficient_quota"}
# What upstream does with a request, and how often.
KINDS = {"counted": 80, "uncounted": 10, "refused": 4, "broken": 6}


class Ending(StrEnum):
    """How a request ended for its client."""

    WHOLE = "answer received whole"
    ERROR_STATUS = "error status"
    ERROR_EVENT = "error in the stream"
    OUT_OF_MONEY = "stream ended for want of money"
    LEFT = "client left on purpose"
    CUT = "connection broke"
    HUNG = "client gave up waiting"
    NOT_SENT = "connection refused"


@dataclass
class Attempt:
    """One request as its client saw it. Times are of the monotonic clock."""

    serial: int
    user_id: int
    web: int
    kind: str
    stream: bool
    client: Dialect
    upstream: Dialect
    began: float
    ended: float = 0.0
    request_id: uuid.UUID | None = None
    status: int | None = None
    ending: Ending = Ending.NOT_SENT
    detail: str = ""
    letters: int = 0  # received, of a stream
    pieces_micro: int = 0  # what its pieces cost, where it is billed by these


@dataclass
class Load:
    """`run()` until `stop` is set. `attempts` and `topups` are what is to be compared with the books."""

    urls: list[str]
    people: People
    random: random.Random
    clients: int
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    attempts: list[Attempt] = field(default_factory=list)
    topups: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=CLIENT_TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as browser,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(self.clients):
                group.create_task(self._ask_on(http))
            for _ in range(3):
                group.create_task(self._top_up_on(browser))

    # --- completions ---------------------------------------------------------------------------------------------

    async def _ask_on(self, http: aiohttp.ClientSession) -> None:
        while not self.stop.is_set():
            attempt = await self._ask(http)
            if attempt.ending == Ending.NOT_SENT:
                await asyncio.sleep(0.3)
            elif attempt.ending == Ending.ERROR_STATUS:
                await asyncio.sleep(0.05)

    async def _ask(self, http: aiohttp.ClientSession) -> Attempt:
        choose = self.random
        person = choose.choices(
            [self.people.hot, choose.choice(self.people.plain), choose.choice(self.people.poor)], [5, 3, 2]
        )[0]
        [kind] = choose.choices(list(KINDS), list(KINDS.values()))
        [(client, upstream)] = choose.choices(list(WAYS), list(WAYS.values()))
        if kind == "uncounted" and upstream not in {CHAT, COMPLETIONS}:
            kind = "counted"  # the others never leave it out
        stream = choose.random() < 0.6 or kind == "broken"
        attempt = Attempt(
            serial=len(self.attempts),
            user_id=person.user_id,
            web=choose.randrange(len(self.urls)),
            kind=kind,
            stream=stream,
            client=client,
            upstream=upstream,
            began=time.monotonic(),
        )
        self.attempts.append(attempt)
        leaves_after = choose.randrange(1, 6) if stream and choose.random() < 0.15 else None
        try:
            await self._send(http, person, attempt, leaves_after)
        except TimeoutError:
            attempt.ending = Ending.HUNG
        except aiohttp.ClientConnectorError:
            attempt.ending = Ending.NOT_SENT
        except (aiohttp.ClientError, OSError) as error:
            attempt.ending, attempt.detail = Ending.CUT, repr(error)
        attempt.ended = time.monotonic()
        return attempt

    async def _send(
        self, http: aiohttp.ClientSession, person: Person, attempt: Attempt, leaves_after: int | None
    ) -> None:
        plan = Plan(
            serial=attempt.serial,
            kind=attempt.kind,
            think_seconds=self.random.uniform(0.0, 0.12),
            pause_seconds=self.random.uniform(0.0, 0.03),
        )
        text = f"{plan} A question long enough for what is reported. {'And longer. ' * 20}"
        model = model_of(attempt.upstream.endpoint)
        body = attempt.client.body(model, text, limit=None, stream=attempt.stream)
        if isinstance(attempt.client, Media):
            attempt.pieces_micro = attempt.client.cost_micro(text)
        if attempt.stream and attempt.client in {CHAT, COMPLETIONS} and self.random.random() < 0.5:
            body["stream_options"] = {"include_usage": True}
        request = http.post(
            f"{self.urls[attempt.web]}/v1{attempt.client.path}",
            **attempt.client.sent(body),
            headers={"Authorization": f"Bearer {person.key}"},
        )
        async with request as response:
            attempt.status = response.status
            attempt.request_id = uuid.UUID(hex=response.headers["x-request-id"])
            if response.status != 200:
                attempt.ending = Ending.ERROR_STATUS
                attempt.detail = json.loads(await response.read())["error"]["code"]
            elif attempt.stream:
                await _read_stream(response, attempt, leaves_after)
            else:
                assert attempt.client.read(await response.read()) == text_of(attempt.serial)
                attempt.ending = Ending.WHOLE

    # --- top-ups -------------------------------------------------------------------------------------------------

    async def _top_up_on(self, browser: aiohttp.ClientSession) -> None:
        while not self.stop.is_set():
            person = self.random.choice([*self.people.poor, *self.people.poor, *self.people.plain])
            try:
                self.topups[await self._top_up(browser, person)] += 1
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.topups["connection broke"] += 1
            await asyncio.sleep(self.random.uniform(0.05, 0.4))

    async def _top_up(self, browser: aiohttp.ClientSession, person: Person) -> str:
        """One payer's way to the gateway and back; returns how it ended for them."""
        choose = self.random
        status, page = await self._post(browser, person, "/wallet/topups/", amount=choose.choice(TOPUP_TOMAN))
        if status != 302:
            return f"not started ({status})"
        plan = choose.choices(["pays", "pays and never returns", "cancels", "forges a return"], [6, 2, 1, 1])[
            0
        ]
        if plan == "forges a return":
            callback = f"/wallet/topups/{uuid.uuid4()}/return/?Status=OK&Authority={page.rsplit('/', 2)[1]}"
            await self._get(browser, callback)
            return plan
        status, back = await self._post(
            browser, person, page, choice="cancel" if plan == "cancels" else "pay"
        )
        if status != 302:
            return f"{plan}, gateway's page failed ({status})"
        if plan != "pays and never returns":
            for _ in range(choose.choice((1, 1, 2))):  # parallel, and then again
                await asyncio.gather(
                    *(self._get(browser, back) for _ in range(choose.randrange(1, 5))), return_exceptions=True
                )
        return plan

    async def _post(
        self, browser: aiohttp.ClientSession, person: Person, path: str, **form: Any
    ) -> tuple[int, str]:
        """Status, and where it sends the browser, without the host."""
        request = browser.post(
            f"{self.random.choice(self.urls)}{path}",
            data={"csrfmiddlewaretoken": CSRF, **form},
            headers={"Cookie": f"sessionid={person.session}; csrftoken={CSRF}"},
            allow_redirects=False,
        )
        async with request as response:
            await response.read()
            to = urlsplit(response.headers.get("Location", ""))
            return response.status, f"{to.path}?{to.query}" if to.query else to.path

    async def _get(self, browser: aiohttp.ClientSession, path: str) -> None:
        request = browser.get(f"{self.random.choice(self.urls)}{path}", allow_redirects=False)
        async with request as response:
            await response.read()


async def _read_stream(response: aiohttp.ClientResponse, attempt: Attempt, leaves_after: int | None) -> None:
    received = b""
    async for line in response.content:
        received += line
        if leaves_after is not None and len(attempt.client.heard(received).text) >= leaves_after:
            attempt.ending = Ending.LEFT
            response.close()
            return
    heard = attempt.client.heard(received)
    attempt.letters = len(heard.text)
    if heard.error in WANT_OF_MONEY:
        assert text_of(attempt.serial).startswith(heard.text)
        attempt.ending = Ending.OUT_OF_MONEY
    elif heard.error:
        attempt.ending, attempt.detail = Ending.ERROR_EVENT, heard.error
    elif heard.ended:
        assert heard.text == text_of(attempt.serial)
        attempt.ending = Ending.WHOLE
    else:
        attempt.ending, attempt.detail = Ending.CUT, "ended without its end"
