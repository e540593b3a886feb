"""A key and its cap are changed as one."""

import threading
from functools import partial

from django.db import connections

from keys import lifecycle, reading
from keys.rules import KeyRules
from proxy import own_keys
from tests.factories import WalletFactory
from wallet.ledger.models import Budget


def test_changes_of_a_key_at_once_open_one_budget(
    committed_db: None,
) -> None:
    user = WalletFactory.create().user
    key_id = lifecycle.create(user_id=user.pk, name="shop").key_id
    change = partial(own_keys.change, user_id=user.pk, key_id=key_id, name="shop", rules=KeyRules())
    failures = at_once(*[partial(change, cap_micro=cap) for cap in range(1, 7)])
    assert not failures
    [budget] = Budget.objects.filter(wallet_id=user.pk)
    assert reading.get(user_id=user.pk, key_id=key_id).rules.budget_id == budget.pk


def at_once(*calls: partial[None]) -> list[Exception]:
    failures: list[Exception] = []
    barrier = threading.Barrier(len(calls))

    def run(call: partial[None]) -> None:
        barrier.wait()
        try:
            call()
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
