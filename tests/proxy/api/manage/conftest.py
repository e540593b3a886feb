"""An account with an admin key, and the management API of a real web process."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from keys import admin_keys
from keys.actors import OPERATOR
from keys.lifecycle import CreatedKey
from keys.models import AdminKey
from tests.factories import WalletFactory
from tests.fake_upstream import FakeUpstream
from tests.live import WebProcess
from wallet.ledger.models import Budget

ALL = tuple(AdminKey.Scope.values)


def make_admin_key(user_id: int, *, scopes: Sequence[str] = ALL, **more: Any) -> CreatedKey:
    given = {"name": "terraform", "allowed_networks": (), "expires_at": None, **more}
    return admin_keys.create(user_id=user_id, scopes=scopes, creation_token=uuid4(), by=OPERATOR, **given)


@dataclass
class Manager:
    """Somebody with an admin key; `http` is bound to the management API with it."""

    user_id: int
    admin_key: CreatedKey
    http: httpx.Client

    def create(self, **fields: Any) -> dict[str, Any]:
        answer = self.http.post("/keys", json={"name": "shop", **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture
def make_manager(
    committed_db: None, web: WebProcess, upstream: FakeUpstream
) -> Iterator[Callable[..., Manager]]:
    upstream.reset()  # what the test before has made of it
    managers: list[Manager] = []
    with ExitStack() as clients:

        def make(*, user_id: int | None = None, **given: Any) -> Manager:
            user_id = user_id or WalletFactory.create(credit_micro=10**12).pk
            key = make_admin_key(user_id, **given)
            head = {"Authorization": f"Bearer {key.secret}"}
            client = httpx.Client(base_url=f"{web.url}/v1/manage", headers=head, timeout=30)
            managers.append(Manager(user_id, key, clients.enter_context(client)))
            return managers[-1]

        yield make
    # What tests wrote into budgets nobody was charged for, and tests of all books share this database.
    Budget.objects.filter(wallet_id__in=[manager.user_id for manager in managers]).update(
        spent_micro=0, spent_before_micro=0, previous_spent_micro=0
    )


@pytest.fixture
def manager(make_manager: Callable[..., Manager]) -> Manager:
    return make_manager()
