"""Servers of limits: the run's own Valkey, a Cluster of three nodes, and a Redis where the machine has one; and an
empty database."""

from collections.abc import Iterator

import pytest
from django.conf import settings

from tests import valkey_servers
from tests.own_database import OwnDatabase, own_database
from tests.valkey_servers import Cluster, Server


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with valkey_servers.cluster() as made:
        yield made


@pytest.fixture
def valkey() -> Iterator[Server]:
    """A server of the test's own, to be stopped and killed."""
    with valkey_servers.server() as one:
        yield one


@pytest.fixture
def own(django_db_setup: None) -> Iterator[OwnDatabase]:
    """A database of the test's own, with nothing in it."""
    with own_database() as made:
        yield made


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """The machine's own Redis (Debian: redis-server)."""
    if valkey_servers.REDIS is None:
        pytest.skip("there is no redis-server on this machine")
    with valkey_servers.server(program=valkey_servers.REDIS) as one:
        yield one


@pytest.fixture(scope="session", params=["valkey", "cluster", "redis"])
def limits_url(request: pytest.FixtureRequest) -> str:
    """What LIMITS_URL may name, one after the other."""
    if request.param == "cluster":
        made: Cluster = request.getfixturevalue("cluster")
        return made.url
    if request.param == "redis":
        one: Server = request.getfixturevalue("redis_server")
        return one.url
    return settings.REDIS_URL
