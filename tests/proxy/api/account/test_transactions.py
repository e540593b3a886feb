"""The statement, line by line."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.db import transaction

from tests.live import at_once
from tests.proxy.api.account.asking import COST, get, refused, told
from tests.proxy.api.conftest import (
    CREDIT,
    MODEL,
    Caller,
)
from wallet.credits import gifts


def test_the_statement_is_read_line_by_line_in_both_directions(caller: Caller) -> None:
    request_id = caller.ask().headers["x-request-id"]
    with transaction.atomic():
        gifts.give(wallet_id=caller.wallet.pk, amount_micro=70_000_001)
    page = told(caller, "/transactions")
    assert (page["object"], page["has_more"]) == ("list", False)
    gift, paid, credit = page["data"]
    assert (paid["id"], paid["kind"], paid["amount_micro"]) == (request_id, "completion", -COST)
    assert paid["amount_toman"] == Decimal(-COST) / 10**7
    assert paid["balance_micro"] == CREDIT - COST
    assert gift["balance_toman"] == Decimal(CREDIT - COST + 70_000_001) / 10**7
    assert credit["balance_micro"] == CREDIT
    assert datetime.fromisoformat(gift["created_at"]) <= datetime.now(UTC)
    assert page["next_after"] == credit["id"]
    for order, expected in (("desc", page["data"]), ("asc", page["data"][::-1])):
        lines: list[Any] = []
        after: dict[str, str] = {}
        for number in range(3):
            one = told(caller, "/transactions", limit=1, order=order, **after)
            lines += one["data"]
            after = {"after": one["next_after"]}
            assert one["has_more"] == (number < 2)
        assert lines == expected
        beyond = told(caller, "/transactions", order=order, **after)
        assert (beyond["data"], beyond["next_after"]) == ([], after["after"])


def test_what_comes_later_stands_behind_what_was_read(caller: Caller) -> None:
    """A consumer that asks on from the last line misses nothing, whatever is booked at the same time."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}

    def ask(http: httpx.Client, number: int) -> list[str]:
        if number % 2:
            return [http.post("/chat/completions", json=body).headers["x-request-id"]]
        return [line["id"] for line in http.get("/transactions", params={"order": "asc"}).json()["data"]]

    seen = at_once(ask, range(40), threads=8, http=lambda: caller.http)
    whole = [line["id"] for line in told(caller, "/transactions", order="asc")["data"]]
    assert len(whole) == 21
    for lines in seen[::2]:
        assert lines == whole[: len(lines)]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"after": "no"}, "after"),
        ({"after": ""}, "after"),
        ({"after": uuid.uuid4().hex}, "after"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"order": "up"}, "order"),
    ],
)
def test_a_broken_cursor_limit_or_order_is_refused(caller: Caller, query: dict[str, str], param: str) -> None:
    assert refused(get(caller, "/transactions", **query)) == (400, "invalid_value", param)


def test_another_accounts_line_is_no_cursor(make_caller: Callable[..., Caller]) -> None:
    mine, theirs = make_caller(), make_caller()
    foreign = told(theirs, "/transactions")["data"][0]["id"]
    assert refused(get(mine, "/transactions", after=foreign)) == (400, "invalid_value", "after")
