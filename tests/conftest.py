"""Fixtures that every test may use.

Pages and domain functions run in a rolled-back transaction (`@pytest.mark.django_db`). What needs several
connections asks for `committed_db` and cleans nothing up: it makes people of its own, and the journal refuses to
be emptied (so `django_db(transaction=True)`, which truncates, is not to be used).
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.test.utils import setup_databases
from django.utils import timezone, translation
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis
from pytest_django import DjangoDbBlocker

from tests.scheduling import Scheduling, in_order

# What a busy machine makes slow is not wrong.
hypothesis.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.load_profile("untimed")

# Fixtures of what runs beside the tests, or is committed for it.
RUNNING = {"committed_db", "web", "upstream", "valkey"}
SPEAKING = {"wire", "test_limits.py", "test_protocol_fuzz.py"}


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: DjangoDbBlocker) -> None:
    """The test database, whichever fixture asks for it; its server goes with the run, so nothing is torn down."""
    with django_db_blocker.unblock():
        setup_databases(verbosity=0, interactive=False, aliases=None, serialized_aliases=[])


@pytest.fixture
def committed_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Real commits on the test database, visible to other connections and processes; nothing is undone."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_static_files() -> Iterator[None]:
    """Pages name static files as they are, so that no test waits for `collectstatic`."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES={**settings.STORAGES, "staticfiles": storage}):
        yield


@pytest.fixture(autouse=True)
def a_slow_test_keeps_its_transaction(request: pytest.FixtureRequest) -> None:
    """In one that is rolled back, a page that a busy machine renders for longer than five seconds would lose it."""
    if request.node.get_closest_marker("django_db") or "db" in request.fixturenames:
        request.getfixturevalue("db")
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '1min'")


@pytest.fixture(autouse=True)
def no_language_or_time_zone_stays() -> Iterator[None]:
    """A page that was asked for here leaves its reader's behind, for whatever runs next in this thread."""
    yield
    translation.deactivate()
    timezone.deactivate()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks as `fast` the tests that need no database and those of pages, but for those that start processes.

    Those of the wire and of the limits' engines speak over sockets all the time, so they are not either.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        starts_processes = item.get_closest_marker("slow") or item.get_closest_marker("proof")
        needs_database = item.get_closest_marker("django_db") or fixtures & {"db", "django_db_setup"}
        is_of_a_page = item.path.name == "test_pages.py" or "dashboard" in item.path.parts
        speaks = SPEAKING & {item.path.parent.name, item.path.name}
        if not (starts_processes or speaks or fixtures & RUNNING) and (is_of_a_page or not needs_database):
            item.add_marker("fast")
    if hasattr(config, "workerinput"):
        in_order(items)
