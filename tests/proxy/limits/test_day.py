"""Limits per day and per model: of Tehran's day, alike on a server and in a process, and never granted twice."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.shared.formats import TEHRAN
from proxy.limits import day, records
from proxy.limits.admission import ANY_NUMBER, REFUSED_BY, Admission, Extent, Limits, ModelBounds
from proxy.limits.day import AccountDay, Use
from proxy.limits.limiter import Limiter, _read, _windows
from proxy.limits.local_window import DayBase, LocalWindows
from proxy.limits.scripts import ADMIT, FINISH, UNSEEDED, day_key
from proxy.limits.valkey import Client, connect

user_ids = itertools.count(60_000_000)
TEHRAN_MS = 12_600_000  # ahead of UTC
MIDNIGHT_MS = int(datetime(2026, 11, 30, 20, 30, tzinfo=UTC).timestamp() * 1000)
MANY = Limits(10**6, 10**9, None)
DAILY = MANY._replace(rpd=3, tpd=100)
MODEL_ANY = ModelBounds("m", Limits(ANY_NUMBER, ANY_NUMBER, None), Limits(ANY_NUMBER, ANY_NUMBER, None))


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    made = connect(django_settings.REDIS_URL)
    yield made
    await made.aclose()


class Clocked:
    """The scripts of one account with the time of the test, and records that know what has ended."""

    def __init__(
        self, client: Client, *, limits: Limits, ceiling: Limits, of_model: ModelBounds | None = None
    ) -> None:
        self.client, self.user_id = client, next(user_ids)
        self.bounds = [limits, ceiling, *(of_model[1:] if of_model else ())]
        self.counted = Extent(of_model.model if of_model else "", is_daily=True)
        self.recorded: list[tuple[int, int, int]] = []  # (began at, key, tokens)

    def records(self, now_ms: int) -> AccountDay:
        since = now_ms - (now_ms + TEHRAN_MS) % day.DAY_MS
        uses: dict[tuple[int, str], Use] = {}
        for began_at, key, tokens in self.recorded:
            if began_at >= since:
                known = uses.get((key, "m"), day.NOTHING)
                uses[key, "m"] = Use(known.requests + 1, known.tokens + tokens)
        return AccountDay(uses)

    async def admit(
        self, request: str, tokens: int, *, now_ms: int, key: int = 1, is_counted: bool = False
    ) -> Admission:
        minutes = [number or 0 for one in self.bounds for number in (one.rpm, one.tpm, one.concurrency)]
        days = [number or 0 for one in self.bounds for number in (one.rpd, one.tpd)]
        arguments = [request, tokens, 1000, int(is_counted), *minutes, TEHRAN_MS, *days]
        reply = await self._run(ADMIT, now_ms, key, *arguments)
        if reply[0] == UNSEEDED:
            uses = [number for use in records.uses(self.records(now_ms), key, self.counted) for number in use]
            reply = await self._run(ADMIT, now_ms, key, *arguments, reply[2], reply[1], *uses)
        return _read(reply, self.counted)

    async def finish(
        self, request: str, estimate: int, tokens: int, *, now_ms: int, key: int = 1, age_ms: int = 0
    ) -> None:
        await self._run(FINISH, now_ms, key, request, estimate, tokens, TEHRAN_MS, age_ms)

    async def lose_everything(self) -> None:
        for key in (1, 2):
            await self.client.delete(*_windows(self.user_id, key, self.counted))

    async def _run(self, script: Any, now_ms: int, key: int, *args: str | int) -> Any:
        seconds, milliseconds = divmod(now_ms, 1000)
        clock = f"{{ARGV[{len(args) + 1}], ARGV[{len(args) + 2}]}}"
        source = script.source.replace("redis.call('TIME')", clock)
        # The lengths of replies that follow the clock are told from ARGV's, which the test makes longer.
        keys = _windows(self.user_id, key, self.counted)
        command = ("EVAL", source, len(keys), *keys, *args, seconds, milliseconds * 1000)
        return await self.client.execute_command(*command)


def reason(admission: Admission) -> str:
    return REFUSED_BY[admission.refused_by % 10]


async def test_a_day_is_tehrans_and_the_wait_is_until_its_midnight(client: Client) -> None:
    account = Clocked(client, limits=DAILY, ceiling=MANY)
    at = MIDNIGHT_MS - 90_000
    for number in range(3):
        assert (await account.admit(f"r{number}", 10, now_ms=at + number)).retry_after_ms == 0
    refused = await account.admit("late", 10, now_ms=at + 70_000)
    assert (refused.retry_after_ms, reason(refused), refused.day) == (20_000, "requests_per_day", Use(3, 30))
    assert (await account.admit("early", 10, now_ms=MIDNIGHT_MS - 1)).retry_after_ms == 1
    begun = await account.admit("first", 10, now_ms=MIDNIGHT_MS)
    assert (begun.retry_after_ms, begun.day, begun.day_left_ms) == (0, Use(1, 10), day.DAY_MS)


async def test_tokens_are_counted_as_an_estimate_and_corrected_on_the_day_of_the_request(
    client: Client,
) -> None:
    account = Clocked(client, limits=DAILY, ceiling=MANY)
    at = MIDNIGHT_MS - 5_000
    await account.admit("a", 60, now_ms=at)
    assert reason(await account.admit("b", 41, now_ms=at + 1)) == "tokens_per_day"
    for _ in range(2):  # its reply was lost: told twice
        await account.finish("a", 60, 10, now_ms=at + 2)
    assert (await account.admit("b", 41, now_ms=at + 3)).day == Use(2, 51)
    assert (await account.admit("c", 1, now_ms=MIDNIGHT_MS + 1)).day == Use(1, 1)
    await account.finish("b", 41, 99, now_ms=MIDNIGHT_MS + 2)  # it was the day before's
    assert (await account.admit("d", 1, now_ms=MIDNIGHT_MS + 3)).day == Use(2, 2)


async def test_a_request_larger_than_the_day_is_refused_for_good(client: Client) -> None:
    account = Clocked(client, limits=DAILY, ceiling=MANY)
    refused = await account.admit("a", 101, now_ms=MIDNIGHT_MS)
    assert (refused.retry_after_ms, reason(refused)) == (-1, "tokens_per_day")


async def test_all_keys_together_stop_at_the_day_of_their_account(client: Client) -> None:
    account = Clocked(client, limits=MANY._replace(rpd=3), ceiling=MANY._replace(rpd=4))
    for number in range(4):
        assert (await account.admit(f"r{number}", 1, now_ms=MIDNIGHT_MS, key=number % 2)).retry_after_ms == 0
    refused = await account.admit("more", 1, now_ms=MIDNIGHT_MS, key=1)
    assert (refused.refused_by // 10, reason(refused)) == (2, "requests_per_day")


async def test_losing_valkey_grants_no_second_day(client: Client) -> None:
    account = Clocked(client, limits=DAILY, ceiling=MANY)
    await account.admit("a", 30, now_ms=MIDNIGHT_MS)
    await account.finish("a", 30, 40, now_ms=MIDNIGHT_MS + 1)
    account.recorded.append((MIDNIGHT_MS, 1, 40))
    await account.admit("open", 20, now_ms=MIDNIGHT_MS + 2)
    await account.lose_everything()
    assert (await account.admit("b", 5, now_ms=MIDNIGHT_MS + 3)).day == Use(2, 45)
    # What was open then is counted when it ends, once however often that is told.
    for _ in range(2):
        await account.finish("open", 20, 25, now_ms=MIDNIGHT_MS + 4)
    assert (await account.admit("c", 1, now_ms=MIDNIGHT_MS + 5)).day == Use(3, 70)


async def test_an_end_that_is_told_late_is_counted_unless_the_records_had_it(client: Client) -> None:
    account = Clocked(client, limits=DAILY, ceiling=MANY)
    account.recorded.append((MIDNIGHT_MS, 1, 40))
    await account.admit("b", 5, now_ms=MIDNIGHT_MS + 10_000)  # reads the records
    await account.finish("known", 30, 40, now_ms=MIDNIGHT_MS + 11_000, age_ms=5_000)
    assert (await account.admit("c", 5, now_ms=MIDNIGHT_MS + 12_000)).day == Use(3, 50)
    await account.finish("alone", 30, 7, now_ms=MIDNIGHT_MS + 13_000, age_ms=1_000)
    refused = await account.admit("d", 5, now_ms=MIDNIGHT_MS + 14_000)
    assert refused.day == Use(4, 57)


async def test_a_clock_that_jumps_neither_resets_the_day_twice_nor_locks_out(client: Client) -> None:
    account = Clocked(client, limits=DAILY, ceiling=MANY)
    at = MIDNIGHT_MS + 3_600_000
    for number in range(2):
        await account.admit(f"r{number}", 10, now_ms=at)
        await account.finish(f"r{number}", 10, 10, now_ms=at)
        account.recorded.append((at, 1, 10))
    # The database's clock is right, and its day is what is read (tests/proxy/usage/test_today.py).
    ahead = await account.admit("ahead", 10, now_ms=at + day.DAY_MS)
    assert ahead.retry_after_ms == 0
    account.recorded.append((at, 1, 10))
    back = await account.admit("back", 10, now_ms=at + 1)
    assert (reason(back), back.day) == ("requests_per_day", Use(3, 30))
    assert (await account.admit("next", 10, now_ms=MIDNIGHT_MS + day.DAY_MS)).retry_after_ms == 0


async def test_a_model_with_limits_is_counted_for_itself(client: Client) -> None:
    of_model = MODEL_ANY._replace(
        limits=MODEL_ANY.limits._replace(rpd=1), ceiling=MODEL_ANY.ceiling._replace(rpd=2)
    )
    account = Clocked(client, limits=MANY, ceiling=MANY, of_model=of_model)
    assert (await account.admit("a", 5, now_ms=MIDNIGHT_MS)).day_of_model == Use(1, 5)
    refused = await account.admit("b", 5, now_ms=MIDNIGHT_MS + 1)
    assert (refused.refused_by // 10, reason(refused)) == (3, "requests_per_day")
    assert (await account.admit("c", 5, now_ms=MIDNIGHT_MS + 2, key=2)).retry_after_ms == 0
    assert (await account.admit("d", 5, now_ms=MIDNIGHT_MS + 3, key=3)).refused_by // 10 == 4


async def test_what_was_counted_before_its_body_joins_its_model_with_its_tokens(client: Client) -> None:
    of_model = MODEL_ANY._replace(limits=MODEL_ANY.limits._replace(tpd=50))
    account = Clocked(client, limits=DAILY, ceiling=MANY, of_model=of_model)
    unread = without_model(account)
    await unread.admit("a", 0, now_ms=MIDNIGHT_MS)
    brought = await account.admit("a", 40, now_ms=MIDNIGHT_MS + 1, is_counted=True)
    assert (brought.day, brought.day_of_model) == (Use(1, 40), Use(1, 40))
    await unread.admit("b", 0, now_ms=MIDNIGHT_MS + 2)
    refused = await account.admit("b", 11, now_ms=MIDNIGHT_MS + 3, is_counted=True)
    assert (reason(refused), refused.day) == ("tokens_per_day", Use(1, 40))  # it counts no more


def without_model(account: Clocked) -> Clocked:
    """The same account before a request's model is known."""
    plain = Clocked(account.client, limits=account.bounds[0], ceiling=account.bounds[1])
    plain.user_id = account.user_id
    return plain


async def test_of_the_day_nothing_is_left_behind_for_ever(client: Client) -> None:
    limiter, user_id = Limiter(client, running_seconds=600), next(user_ids)
    counted = Extent("m", is_daily=True)
    await limiter.admit(
        user_id=user_id, key_id=1, request_id="r", limits=DAILY, ceiling=MANY, tokens=5, of_model=MODEL_ANY
    )
    await limiter.finish(user_id=user_id, key_id=1, request_id="r", estimate=5, tokens=6, counted=counted)
    for name in _windows(user_id, 1, counted):
        assert await client.pttl(name) != -1, name


async def test_many_first_requests_read_the_records_once(client: Client) -> None:
    asked = []

    async def recorded(user_id: int, at: datetime) -> AccountDay:
        asked.append(at)
        await asyncio.sleep(0.05)
        return AccountDay({(1, "m"): Use(1, 10)})

    limiter, user_id = Limiter(client, running_seconds=600, recorded=recorded), next(user_ids)
    answers = await asyncio.gather(
        *(
            limiter.admit(user_id=user_id, key_id=1, request_id=f"r{n}", limits=DAILY, ceiling=MANY, tokens=5)
            for n in range(20)
        )
    )
    assert [answer.retry_after_ms for answer in answers].count(0) == 2  # one of three is in the records
    assert len(asked) == 1
    assert await limiter.today(user_id=user_id, key_id=1) == (Use(3, 20), Use(3, 20))


async def test_without_valkey_a_process_counts_the_day_from_the_records(client: Client) -> None:
    async def recorded(user_id: int, at: datetime) -> AccountDay:
        return AccountDay({(1, "m"): Use(2, 50)})

    gone = connect("unix:///nonexistent/valkey.sock")
    limiter, user_id = Limiter(gone, running_seconds=600, recorded=recorded), next(user_ids)

    async def admit(request: str) -> Admission:
        return await limiter.admit(
            user_id=user_id, key_id=1, request_id=request, limits=DAILY, ceiling=MANY, tokens=5
        )

    assert (await admit("a")).retry_after_ms == 0
    refused = await admit("b")
    assert reason(refused) == "requests_per_day"
    assert 0 < refused.retry_after_ms <= day.DAY_MS
    assert await limiter.today(user_id=user_id, key_id=1) == (Use(2, 50), Use(2, 50))
    await gone.aclose()


# --- a server, a process and a plain model ----------------------------------------------------------------------------

LIMITS = st.builds(
    Limits,
    st.just(10**6),
    st.just(10**9),
    st.none(),
    st.sampled_from([None, 2, 4]),
    st.sampled_from([None, 40, 90]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 40)),
        st.tuples(st.just("announce"), st.integers(0, 40)),
        st.tuples(st.just("bring"), st.integers(0, 40)),
        st.tuples(st.just("finish"), st.integers(0, 60)),
        st.tuples(st.just("wait"), st.sampled_from([30_000, 3_600_000, day.DAY_MS])),
        st.tuples(st.just("lose"), st.just(0)),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(limits=LIMITS, ceiling=LIMITS, own=LIMITS, has_model=st.booleans(), steps=STEPS)
def test_clients_of_a_server_count_the_day_as_a_plain_model_does(
    limits: Limits, ceiling: Limits, own: Limits, has_model: bool, steps: list[tuple[str, int]]
) -> None:
    of_model = ModelBounds("m", own, MODEL_ANY.ceiling) if has_model else None
    asyncio.run(compare(limits, ceiling, of_model, steps))


async def compare(
    limits: Limits, ceiling: Limits, of_model: ModelBounds | None, steps: list[tuple[str, int]]
) -> None:
    """Of each request the plain model knows the day, and its tokens as of now. Losing Valkey forgets what is open until
    it ends, so requests end before that."""
    clients = [connect(django_settings.REDIS_URL) for _ in range(2)]
    accounts = [Clocked(each, limits=limits, ceiling=ceiling, of_model=of_model) for each in clients]
    accounts[1].user_id, accounts[1].recorded = accounts[0].user_id, accounts[0].recorded
    known: dict[str, tuple[int, int, int]] = {}  # request: (day, key, tokens)
    running: list[tuple[int, str, int, int]] = []
    now_ms = MIDNIGHT_MS - 40_000

    def used(key: int | None) -> Use:
        today = (now_ms + TEHRAN_MS) // day.DAY_MS
        found = [one[2] for one in known.values() if one[0] == today and key in (None, one[1])]
        return Use(len(found), sum(found))

    def fits(key: int, tokens: int) -> bool:
        bounds = [(limits, key), (ceiling, None), *([(of_model.limits, key)] if of_model else [])]
        return all(
            (each.rpd is None or used(whose).requests < each.rpd)
            and (each.tpd is None or used(whose).tokens + tokens <= each.tpd)
            for each, whose in bounds
        )

    async def end(one: tuple[int, str, int, int], tokens: int) -> None:
        key, request, estimate, began_at = one
        for _ in range(2):
            await accounts[key % 2].finish(request, estimate, tokens, now_ms=now_ms, key=key)
        known[request] = (known[request][0], key, tokens)
        accounts[0].recorded.append((began_at, key, tokens))

    try:
        for number, (what, amount) in enumerate(steps):
            now_ms += 1
            key, request = number % 2 + 1, f"r{number}"
            if what in ("admit", "announce", "bring"):
                should = fits(key, amount)
                answer = await accounts[number % 2].admit(request, amount, now_ms=now_ms, key=key)
                assert (answer.retry_after_ms == 0) == should
                if should:
                    known[request] = ((now_ms + TEHRAN_MS) // day.DAY_MS, key, amount)
                    running.append((key, request, amount, now_ms))
                assert answer.day == used(key)
            elif what == "finish" and running:
                await end(running.pop(0), amount)
            elif what == "wait":
                now_ms += amount
            elif what == "lose":
                while running:
                    await end(running.pop(), amount)
                    now_ms += 1
                await accounts[0].lose_everything()
    finally:
        for each in clients:
            await each.aclose()


def test_a_process_alone_forgets_what_the_records_have_by_now() -> None:
    windows, limits = LocalWindows(), DAILY
    base = DayBase(object(), (Use(0, 0), Use(0, 0)), 1_000)

    def admit(request: str, base: DayBase) -> Admission:
        return windows.admit(
            1, request, 10, limits=limits, ceiling=MANY, is_counted=False, now_ms=1, day=base
        )

    assert admit("a", base).day == Use(1, 10)
    assert admit("b", base).day == Use(2, 20)
    windows.finish(1, "a", 10, 12, now_ms=2)
    later = replace(base, read=object(), uses=(Use(1, 12), Use(1, 12)))
    assert admit("c", later).day == Use(3, 32)
    refused = admit("d", later)
    assert (refused.retry_after_ms, reason(refused)) == (1_000, "requests_per_day")


def test_days_are_told_beside_minutes_and_the_tighter_of_key_and_model() -> None:
    admission = Admission(0, 1, 10, 5, 5, day_left_ms=3_600_000, day=Use(4, 50), day_of_model=Use(1, 20))
    headers = admission.headers(Limits(10, 1000, None, 6, 500))
    assert headers["x-ratelimit-remaining-requests-day"] == "2"
    assert headers["x-ratelimit-reset-tokens-day"] == "1h0m0s"
    own = MODEL_ANY._replace(limits=MODEL_ANY.limits._replace(rpd=2, tpd=9_000))
    headers = admission.headers(Limits(10, 1000, None, 6, 500), own)
    assert headers["x-ratelimit-limit-requests-day"] == "2"
    assert headers["x-ratelimit-remaining-requests-day"] == "1"
    assert headers["x-ratelimit-limit-tokens-day"] == "500"
    assert not any("day" in name for name in admission.headers(Limits(10, 1000, None)))


@pytest.mark.parametrize("hours", range(0, 24, 5))
def test_what_is_left_of_a_day_ends_at_tehrans_midnight(hours: int) -> None:
    at = datetime(2026, 3, 21, tzinfo=UTC) + timedelta(hours=hours)
    end = (at + timedelta(milliseconds=day.left_ms(at))).astimezone(TEHRAN)
    assert (end.hour, end.minute, end.second) == (0, 0, 0)


def test_the_day_of_a_window_has_a_name_of_its_own() -> None:
    names = {day_key(1, 2), day_key(1), day_key(1, 2, "m"), day_key(1, None, "m")}
    assert len(names) == 4
    assert all(name.startswith("hamiran:{user 1}:") for name in names)
