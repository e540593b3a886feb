"""What holds across both web processes: limits are counted together, and a revoked key stops everywhere."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import django.db

from keys.lifecycle import CreatedKey
from keys.rules import KeyRules
from proxy import own_keys
from tests.chaos.attempt import PAID, Attempt
from tests.chaos.cluster.faults import Round
from tests.chaos.load import Load
from tests.chaos.people import Person
from tests.chaos.stack import with_orm

RPM = 20
WINDOW_SECONDS = 60.0
REVOKED_WITHIN_SECONDS = 5.0
PROBE_SECONDS = 0.25


@dataclass
class Promises:
    """`run()` until the load stops; `faults` are the promises that were broken."""

    load: Load
    http: aiohttp.ClientSession
    limited: list[Attempt] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    _revoked: list[str] = field(default_factory=list)

    async def run(self) -> None:
        limited = await self._person(KeyRules(rpm=RPM))
        async with asyncio.TaskGroup() as group:
            for web in range(len(self.load.urls)):
                group.create_task(self._probe(web))
                group.create_task(self._use_up(web, limited))
            group.create_task(self._revoke_on())

    # --- the service as its customers see it: a question every quarter of a second, whatever became of the last ----

    async def _probe(self, web: int) -> None:
        async with asyncio.TaskGroup() as group:
            while not self.load.stop.is_set():
                group.create_task(self.load.ask_once(self.http, self.load.people.plain[1], web))
                await asyncio.sleep(PROBE_SECONDS)

    # --- limits ----------------------------------------------------------------------------------------------------

    async def _use_up(self, web: int, person: Person) -> None:
        """Asks more often, of both, than one key may."""
        while not self.load.stop.is_set():
            self.limited.append(await self.load.ask_once(self.http, person, web))
            await asyncio.sleep(1.0)

    def judge_limits(self, rounds: list[Round]) -> None:
        """No more than RPM were admitted in any minute, but where Valkey was away in it."""
        apart = [(each.began, each.ended + WINDOW_SECONDS) for each in rounds if each.limits_apart]
        admitted = sorted((each for each in self.limited if each.ending in PAID), key=lambda each: each.began)
        self.figures["answers to the limited key"] = len(admitted)
        self.figures["refusals of the limited key"] = sum(each.status == 429 for each in self.limited)
        for first, last in zip(admitted, admitted[RPM:], strict=False):
            if last.ended - first.began >= WINDOW_SECONDS:
                continue
            if any(began < last.ended and first.began < ended for began, ended in apart):
                self.figures["minutes beyond the limit while Valkey was away"] += 1
            else:
                self.faults.append(f"more than {RPM} in a minute: {first} {last}")

    # --- revocation ------------------------------------------------------------------------------------------------

    async def _revoke_on(self) -> None:
        while not self.load.stop.is_set():
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, django.db.Error):
                await self._revoke_one()
            await asyncio.sleep(0.5)

    async def _revoke_one(self) -> None:
        owner = self.load.people.plain[2]
        created = await with_orm(_create, owner.user_id, KeyRules())
        key_id, secret = created.key_id, created.secret
        for web in range(len(self.load.urls)):
            await self._status(web, secret)
        status, _to = await self.load.post(self.http, owner, f"/keys/{key_id}/revoke/")
        acknowledged = time.monotonic()
        if status != 302:
            self.figures["revocations that were not acknowledged"] += 1
            return
        self.figures["revocations"] += 1
        self._revoked.append(secret)
        while time.monotonic() - acknowledged < REVOKED_WITHIN_SECONDS + 3:
            for web in range(len(self.load.urls)):
                asked = time.monotonic()
                status = await self._status(web, secret)
                if status == 200 and asked - acknowledged > REVOKED_WITHIN_SECONDS:
                    self.faults.append(f"a key works {asked - acknowledged:.1f} s after it was revoked")
            await asyncio.sleep(0.5)

    async def judge_revoked(self) -> None:
        """None of them works in the end. (After so many wrong keys from one address, 429 is said instead of 401.)"""
        for secret in self._revoked:
            for web in range(len(self.load.urls)):
                if (status := await self._status(web, secret)) not in {401, 429}:
                    self.faults.append(f"a revoked key is answered by {status} in the end")

    async def _status(self, web: int, secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        async with self.http.get(f"{self.load.urls[web]}/v1/models", headers=headers) as response:
            await response.read()
            return response.status

    async def _person(self, rules: KeyRules) -> Person:
        owner = self.load.people.plain[3]
        created = await with_orm(_create, owner.user_id, rules)
        return Person(owner.user_id, created.secret, owner.session)


def _create(user_id: int, rules: KeyRules) -> CreatedKey:
    return own_keys.create(user_id=user_id, name="chaos", rules=rules, cap_micro=None)
