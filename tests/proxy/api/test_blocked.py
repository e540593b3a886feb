"""A blocked account's keys stop in every web process, and work again once it is unblocked."""

from collections.abc import Callable

import httpx

from accounts import blocking
from keys.lookup import MAX_AGE_SECONDS
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import HELLO, MODEL, Caller

GRACE_SECONDS = 1  # of the test itself


def test_both_processes_refuse_the_keys_of_a_blocked_account_within_five_seconds(
    web: WebProcess, make_caller: Callable[..., Caller]
) -> None:
    caller = make_caller()
    user_id = caller.wallet.pk

    def statuses(*processes: WebProcess) -> set[int]:
        with httpx.Client(headers={"Authorization": f"Bearer {caller.key}"}, timeout=30) as http:
            body = {"model": MODEL, "messages": HELLO}
            return {http.post(f"{each.url}/v1/chat/completions", json=body).status_code for each in processes}

    with web_process() as other:
        assert statuses(web, other) == {200}
        blocking.block(user_id=user_id, author_id=user_id, reason="a test")
        eventually(lambda: statuses(web, other) == {401}, seconds=MAX_AGE_SECONDS + GRACE_SECONDS)
        blocking.unblock(user_id=user_id, author_id=user_id, reason="a test")
        eventually(lambda: statuses(web, other) == {200}, seconds=MAX_AGE_SECONDS + GRACE_SECONDS)
