"""Rests as pages see and end them; what web processes do with them is in `rests`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from proxy.upstreams.rests import HASH, LINGER_SECONDS, Key, Told, field_of, key_of

TIMEOUT_SECONDS = 1


class Unknown(Exception):
    """Valkey is away: each web process has rests of its own, of which nobody else knows."""


@dataclass(frozen=True, slots=True)
class Resting:
    """`until`: past where it is being tried again. `told`: why."""

    upstream_id: int
    upstream_model: str
    until: datetime
    told: Told


def listing() -> list[Resting]:
    """All of them, those that end first first. Raises Unknown."""
    with _valkey() as client:
        seconds, micros = client.time()
        told = client.hgetall(HASH)
    now, valkeys = timezone.now(), seconds + micros / 1e6
    found = []
    for name, text in told.items():
        try:
            rest, (upstream_id, model) = Told.decoded(text), key_of(name)
        except ValueError:  # of another version
            continue
        if rest.until + LINGER_SECONDS > valkeys:
            found.append(Resting(upstream_id, model, now + timedelta(seconds=rest.until - valkeys), rest))
    return sorted(found, key=lambda each: (each.until, each.upstream_id, each.upstream_model))


def end(key: Key) -> bool:
    """Ends a rest in every process; False: there is none. Raises Unknown."""
    with _valkey() as client:
        return bool(client.hdel(HASH, field_of(key)))


def take_turn(name: str, *, seconds: int) -> bool:
    """Whether nobody else is at `name` now; whoever has the turn loses it after so many seconds. Raises Unknown."""
    with _valkey() as client:
        return bool(client.set(name, b"1", nx=True, ex=seconds))


def give_back(name: str) -> None:
    """Ends a turn. Raises Unknown."""
    with _valkey() as client:
        client.delete(name)


@contextmanager
def _valkey() -> "Iterator[redis.Redis]":
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield client
    except RedisError as error:
        raise Unknown from error
    finally:
        client.close()
