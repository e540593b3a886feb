"""Clients that never rest: completions, some left in the middle, some repeated; and top-ups with wild callbacks."""

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from proxy.api.origin import CLIENT_REQUEST_ID
from proxy.http.responses import COST_HEADER, ORIGINAL_HEADER
from proxy.idempotency.claims import HEADER as KEY_HEADER
from tests.chaos.attempt import Attempt, Ending
from tests.chaos.media import Media
from tests.chaos.people import WAYS, People, Person, model_of
from tests.chaos.upstream import Plan, text_of
from tests.dialects import CHAT, COMPLETIONS
from wallet.money import MICRO_PER_TOMAN

CLIENT_TIMEOUT_SECONDS = 60
CSRF = "c" * 32
TOPUP_TOMAN = (10_000, 25_000, 60_000)
WANT_OF_MONEY = {"insufficient_balance", "insufficient_quota"}
# What upstream does with a request, and how often.
KINDS = {"counted": 80, "uncounted": 10, "refused": 4, "broken": 6}
# Of the requests for text: how many have an Idempotency-Key, how many of these are sent once more when all is known,
# and how often one is sent at the most.
KEYED, ASKED_ONCE_MORE, SENT_MAX = 1 / 3, 1 / 4, 12


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
            await self._ask(http)

    async def _ask(self, http: aiohttp.ClientSession) -> None:
        """Once; with an Idempotency-Key again and again, until the end is known."""
        choose = self.random
        person = choose.choices(
            [self.people.hot, choose.choice(self.people.plain), choose.choice(self.people.poor)], [5, 3, 2]
        )[0]
        [kind] = choose.choices(list(KINDS), list(KINDS.values()))
        [(client, upstream)] = choose.choices(list(WAYS), list(WAYS.values()))
        if kind == "uncounted" and upstream not in {CHAT, COMPLETIONS}:
            kind = "counted"  # the others never leave it out
        stream = choose.random() < 0.6 or kind == "broken"
        serial = len(self.attempts)
        is_keyed = not isinstance(client, Media) and choose.random() < KEYED
        asked = Attempt(
            serial=serial,
            user_id=person.user_id,
            kind=kind,
            stream=stream,
            client=client,
            upstream=upstream,
            idempotency_key=f"question {serial}" if is_keyed else None,
        )
        leaves_after = choose.randrange(1, 6) if stream and choose.random() < 0.15 else None
        body = self._body(asked)
        ends_left = 2 if choose.random() < ASKED_ONCE_MORE else 1
        for _ in range(SENT_MAX if is_keyed else 1):
            attempt = replace(asked, web=choose.randrange(len(self.urls)), began=time.monotonic())
            self.attempts.append(attempt)
            await self._try(http, person, attempt, body, leaves_after)
            await self._rest(attempt)
            leaves_after = None
            ends_left -= attempt.is_final
            if not ends_left or self.stop.is_set():
                break

    async def ask_once(self, http: aiohttp.ClientSession, person: Person, web: int) -> Attempt:
        """One question at a web process, without a stream."""
        asked = Attempt(
            serial=len(self.attempts), user_id=person.user_id, kind="counted", stream=False, client=CHAT, upstream=CHAT,
            web=web, began=time.monotonic(),
        )  # fmt: skip
        self.attempts.append(asked)
        await self._try(http, person, asked, self._body(asked), None)
        return asked

    async def _rest(self, attempt: Attempt) -> None:
        seconds = 0.0
        if attempt.ending == Ending.NOT_SENT:
            seconds = 0.3
        elif attempt.ending == Ending.ERROR_STATUS:
            seconds = attempt.wait_seconds if attempt.idempotency_key and attempt.wait_seconds else 0.05
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), seconds)

    async def _try(
        self,
        http: aiohttp.ClientSession,
        person: Person,
        attempt: Attempt,
        body: dict[str, Any],
        leaves_after: int | None,
    ) -> None:
        try:
            await self._send(http, person, attempt, body, leaves_after)
        except TimeoutError:
            attempt.ending = Ending.HUNG
        except aiohttp.ClientConnectorError:
            attempt.ending = Ending.NOT_SENT
        except (aiohttp.ClientError, OSError) as error:
            attempt.ending, attempt.detail = Ending.CUT, repr(error)
        attempt.ended = time.monotonic()

    def _body(self, asked: Attempt) -> dict[str, Any]:
        plan = Plan(
            serial=asked.serial,
            kind=asked.kind,
            think_seconds=self.random.uniform(0.0, 0.12),
            pause_seconds=self.random.uniform(0.0, 0.03),
        )
        text = f"{plan} A question long enough for what is reported. {'And longer. ' * 20}"
        model = model_of(asked.upstream.endpoint)
        body = asked.client.body(model, text, limit=None, stream=asked.stream)
        if isinstance(asked.client, Media):
            asked.pieces_micro = asked.client.cost_micro(text)
        if asked.stream and asked.client in {CHAT, COMPLETIONS} and self.random.random() < 0.5:
            body["stream_options"] = {"include_usage": True}
        return body

    async def _send(
        self,
        http: aiohttp.ClientSession,
        person: Person,
        attempt: Attempt,
        body: dict[str, Any],
        leaves_after: int | None,
    ) -> None:
        headers = {"Authorization": f"Bearer {person.key}"}
        if attempt.idempotency_key is not None:
            headers |= {KEY_HEADER: attempt.idempotency_key, CLIENT_REQUEST_ID: attempt.idempotency_key}
        request = http.post(
            f"{self.urls[attempt.web]}/v1{attempt.client.path}",
            **attempt.client.sent(body),
            headers=headers,
        )
        async with request as response:
            attempt.status = response.status
            attempt.request_id = uuid.UUID(hex=response.headers["x-request-id"])
            if original := response.headers.get(ORIGINAL_HEADER):
                attempt.original_id = uuid.UUID(hex=original)
                attempt.told_micro = round(float(response.headers[COST_HEADER]) * MICRO_PER_TOMAN)
            if response.status != 200:
                attempt.wait_seconds = float(response.headers.get("retry-after", 0))
                attempt.detail = json.loads(await response.read())["error"]["code"]
                is_named = attempt.detail == "idempotency_replayed"
                attempt.ending = Ending.NAMED if is_named else Ending.ERROR_STATUS
            elif attempt.stream:
                await _read_stream(response, attempt, leaves_after)
            else:
                attempt.received = await response.read()
                assert attempt.client.read(attempt.received) == text_of(attempt.serial)
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
        status, page = await self.post(browser, person, "/wallet/topups/", amount=choose.choice(TOPUP_TOMAN))
        if status != 302:
            return f"not started ({status})"
        plan = choose.choices(["pays", "pays and never returns", "cancels", "forges a return"], [6, 2, 1, 1])[
            0
        ]
        if plan == "forges a return":
            callback = f"/wallet/topups/{uuid.uuid4()}/return/?Status=OK&Authority={page.rsplit('/', 2)[1]}"
            await self._get(browser, callback)
            return plan
        status, back = await self.post(browser, person, page, choice="cancel" if plan == "cancels" else "pay")
        if status != 302:
            return f"{plan}, gateway's page failed ({status})"
        if plan != "pays and never returns":
            for _ in range(choose.choice((1, 1, 2))):  # parallel, and then again
                await asyncio.gather(
                    *(self._get(browser, back) for _ in range(choose.randrange(1, 5))), return_exceptions=True
                )
        return plan

    async def post(
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
    async for line in response.content:
        attempt.received += line
        if leaves_after is not None and len(attempt.client.heard(attempt.received).text) >= leaves_after:
            attempt.ending = Ending.LEFT
            response.close()
            return
    heard = attempt.client.heard(attempt.received)
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
