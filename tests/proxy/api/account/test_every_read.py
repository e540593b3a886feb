"""What all reads of the account have in common: ETags, their own limit, nothing that they change or hold up."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from proxy.dashboard.docs import account_examples
from proxy.dashboard.docs.account_examples import CURL, NODE, PYTHON, AccountExample
from proxy.limits.reads import PER_MINUTE
from proxy.runtime import POOL_SIZE, READINGS_AT_ONCE
from tests.fake_upstream import FakeUpstream
from tests.live import at_once, eventually
from tests.proxy.api.account.asking import PATHS, get, refused
from tests.proxy.api.conftest import (
    CREDIT,
    MODEL,
    Caller,
)
from wallet.ledger.models import Hold, JournalEntry, Wallet


@pytest.mark.parametrize("path", ["/balance", "/transactions"])
def test_it_is_not_sent_again_to_a_client_that_has_it(caller: Caller, path: str) -> None:
    with caller.http as http:
        first = http.get(path)
        again = http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "private, no-cache"
        caller.ask()
        assert http.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 200
        head = http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        assert http.delete(path).json()["error"]["code"] == "method_not_allowed"


def test_so_many_reads_a_minute_are_allowed_and_calls_go_on(caller: Caller) -> None:
    answers = at_once(
        lambda http, _number: http.get("/balance").status_code,
        range(PER_MINUTE + 10),
        threads=8,
        http=lambda: caller.http,
    )
    assert sorted(answers) == [200] * PER_MINUTE + [429] * 10
    for path in PATHS:
        answer = get(caller, path)
        assert refused(answer)[:2] == (429, "rate_limit_exceeded")
        assert 0 < int(answer.headers["retry-after"]) <= 60
    with caller.http as http:
        assert http.post("/requests/lookup", json={"ids": ["x"]}).status_code == 429
    assert caller.ask().status_code == 200


def test_reading_leaves_no_hold_and_books_nothing(caller: Caller) -> None:
    for path in PATHS:
        get(caller, path)
    assert not Hold.objects.filter(wallet=caller.wallet).exists()
    assert JournalEntry.objects.filter(wallet=caller.wallet).count() == 1
    assert Wallet.objects.get(pk=caller.wallet.pk).posted_micro == CREDIT


def test_reads_that_hang_leave_connections_for_calls(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    """More of them than there are connections wait for a table; a key that is new to the process is looked up."""
    reader, newcomer = make_caller(), make_caller()
    reader.ask()
    answers: list[int] = []

    def read() -> None:
        answers.append(get(reader, "/balance").status_code)

    waiting = [threading.Thread(target=read) for _ in range(POOL_SIZE + 2)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE wallet_walletalert IN ACCESS EXCLUSIVE MODE")
        for thread in waiting:
            thread.start()
        eventually(lambda: blocked() == READINGS_AT_ONCE)
        assert newcomer.ask().status_code == 200
        assert blocked() == READINGS_AT_ONCE
        assert answers == []
    for thread in waiting:
        thread.join(20)
    assert answers == [200] * len(waiting)


def blocked() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'wallet_walletalert'::regclass"
        )
        found: int = cursor.fetchone()[0]
        return found


@pytest.mark.parametrize("example", [CURL, PYTHON, NODE], ids=lambda example: example.slug)
def test_the_examples_of_the_reference_run_as_they_stand(caller: Caller, example: AccountExample) -> None:
    programs = {
        "curl": ("sh", "-c"),
        "python": (sys.executable, "-c"),
        "node": ("node", "--input-type=module", "-e"),
    }
    program = programs[example.slug]
    if shutil.which("curl" if example is CURL else program[0]) is None:
        pytest.skip("is not on this machine")
    caller.ask()
    [written] = [
        each
        for each in account_examples.written(base_url=caller.web.url, key=caller.key, model_id=MODEL)
        if each.slug == example.slug
    ]
    ran = subprocess.run([*program, written.code], check=True, capture_output=True, text=True, timeout=60)
    assert {"curl": "available_toman", "python": "completed 0.0039 Toman", "node": f"{MODEL} 1 0.0039"}[
        example.slug
    ] in ran.stdout
