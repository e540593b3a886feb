"""Fixtures that every test may use.

Pages and domain functions run in a rolled-back transaction (`@pytest.mark.django_db`). What needs several
connections asks for `committed_db` and cleans nothing up: it makes people of its own, and the journal refuses to
be emptied (so `django_db(transaction=True)`, which truncates, is not to be used).
"""

from collections.abc import Iterator

import pytest


@pytest.fixture
def committed_db(django_db_setup: None, django_db_blocker: object) -> Iterator[None]:
    """Real commits on the test database, visible to other connections and processes; nothing is undone."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield
