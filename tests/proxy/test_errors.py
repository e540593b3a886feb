"""What a client is told of failures that nobody expected."""

import django.db
import psycopg
import pytest

from proxy import errors

DEMOTED = django.db.InternalError()
DEMOTED.__cause__ = psycopg.errors.ReadOnlySqlTransaction()


@pytest.mark.parametrize(
    "error", [psycopg.errors.ReadOnlySqlTransaction(), DEMOTED], ids=["psycopg", "Django"]
)
def test_a_server_that_gave_its_place_to_another_is_an_outage_that_passes(error: Exception) -> None:
    told = errors.failed(error, request_id="1")
    assert (told.code, told.headers) == ("service_unavailable", {"Retry-After": "5"})


def test_another_failure_of_the_database_is_ours() -> None:
    assert errors.failed(django.db.InternalError(), request_id="1").code == "internal_error"
