"""Fixtures that every test may use.

Pages and domain functions run in a rolled-back transaction (`@pytest.mark.django_db`). What needs several
connections asks for `committed_db` and cleans nothing up: it makes people of its own, and the journal refuses to
be emptied (so `django_db(transaction=True)`, which truncates, is not to be used).
"""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings


@pytest.fixture
def committed_db(django_db_setup: None, django_db_blocker: object) -> Iterator[None]:
    """Real commits on the test database, visible to other connections and processes; nothing is undone."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_static_files() -> Iterator[None]:
    """Pages name static files as they are, so that no test waits for `collectstatic`."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES={**settings.STORAGES, "staticfiles": storage}):
        yield
