"""What web processes tell each other of their breakers, for whoever is no web process (`proxy.upstreams.breakers`)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.upstreams.breakers import LINGER_SECONDS, key_of

TIMEOUT_SECONDS = 0.5


class Unknown(Exception):
    """Valkey does not answer, so each process has breakers of its own."""


@dataclass(frozen=True, slots=True)
class Opening:
    """An upstream that is left alone for `remaining`; zero: the next call tries it. `times`: how often in a row."""

    times: int
    remaining: timedelta


def openings(upstream_ids: Iterable[int]) -> dict[int, Opening]:
    """Those of these upstreams whose breakers are not closed. Raises Unknown."""
    ids = list(upstream_ids)
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        pipeline = client.pipeline(transaction=False)
        for upstream_id in ids:
            pipeline.get(key_of(upstream_id))
            pipeline.pttl(key_of(upstream_id))
        answers = pipeline.execute()
    except (redis.RedisError, OSError) as error:
        raise Unknown from error
    finally:
        client.close()
    found = {}
    for upstream_id, value, milliseconds in zip(ids, answers[::2], answers[1::2], strict=True):
        if value:
            times, _colon, _opening = bytes(value).decode().partition(":")
            remaining = max(0.0, milliseconds / 1000 - LINGER_SECONDS)
            found[upstream_id] = Opening(int(times), timedelta(seconds=remaining))
    return found
