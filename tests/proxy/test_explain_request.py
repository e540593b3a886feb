"""`manage.py explain_request`: one request from its log line to the journal."""

import asyncio
import io
import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from proxy.usage import records
from tests.factories import WalletFactory
from tests.proxy.factories import APIKeyFactory, PriceFactory, UpstreamFactory, UsageRecordFactory
from tests.wallet.ledger.test_group_commit import conninfo
from wallet.ledger.budgets import open_budget
from wallet.ledger.holds import Holds, sweep_expired
from wallet.ledger.models import Hold, JournalEntry, Wallet

pytestmark = pytest.mark.usefixtures("committed_db")
TOMAN = 10_000_000


@pytest.fixture
def wallet() -> Wallet:
    return WalletFactory.create(credit_micro=100 * TOMAN)


@pytest.fixture
def web_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(settings, "VAR_DIR", tmp_path)
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "web.log"


def place(
    wallet: Wallet,
    *,
    settles: dict[str, Any] | None = None,
    cost_micro: int = 0,
    writes_record: bool = True,
) -> uuid.UUID:
    """A request's hold of 50 Toman, and its settlement with that record."""

    async def run() -> None:
        holds = Holds(conninfo=conninfo(), record_sql=records.record_sql() if writes_record else None)
        holds.start()
        held = {"amount_micro": 50 * TOMAN, "minimum_micro": 1, "seconds": 600}
        await holds.place(hold_id=request_id, wallet_id=wallet.pk, **held)
        if settles is not None:
            await holds.settle(hold_id=request_id, wallet_id=wallet.pk, cost_micro=cost_micro, record=settles)
        await holds.close(timeout_seconds=3)

    request_id = uuid.uuid4()
    asyncio.run(run())
    return request_id


def record(wallet: Wallet, **fields: Any) -> dict[str, Any]:
    """What settlement writes beside the ids and the cost."""
    key = APIKeyFactory.create(user=wallet.user, name="the shop")
    made = UsageRecordFactory.build(
        user_id=wallet.pk, key_id=key.pk, upstream_id=UpstreamFactory.create(name=f"up-{key.pk}").pk
    )
    columns = {field.attname: getattr(made, field.attname) for field in made._meta.concrete_fields}
    return {name: columns[name] for name in columns.keys() - records.SETTLED_COLUMNS} | fields


def data(request_id: uuid.UUID | str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("explain_request", str(request_id), "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def text(request_id: uuid.UUID | str) -> str:
    out = io.StringIO()
    call_command("explain_request", str(request_id), stdout=out)
    return out.getvalue()


def test_a_captured_request_is_explained_with_its_price_and_both_entries(wallet: Wallet) -> None:
    settled = record(wallet, prompt_tokens=10, cached_tokens=4, completion_tokens=5, first_byte_ms=12)
    cost_micro = 6 * 1_000 + 4 * 250 + 5 * 4_000
    request_id = place(wallet, settles=settled, cost_micro=cost_micro)
    shown = text(request_id)
    assert "captured" in shown
    assert wallet.user.mobile in shown
    assert '"the shop" (…wxyz)' in shown
    assert f'model model-a at upstream "up-{settled["key_id"]}"' in shown
    assert "first byte after 12 ms, 120 ms in all" in shown
    assert "10 prompt tokens, 4 of them cached, and 5 completion tokens" in shown
    assert "1,000 Rial (input), 250 Rial (cached input), 4,000 Rial (output)" in shown
    assert "0.0027 Toman = 6 × 1,000 + 4 × 250 + 5 × 4,000 = 27,000 micro-Rial" in shown
    assert "wallet −0.0027 Toman, balance after it 99.9973 Toman" in shown
    assert "revenue +0.0027 Toman" in shown
    assert "Hold:" not in shown
    assert [entry["amount_micro"] for entry in data(request_id)["journal"]] == [-cost_micro, cost_micro]


def test_the_id_is_read_with_and_without_dashes(wallet: Wallet) -> None:
    request_id = place(wallet)
    assert data(str(request_id)) == data(request_id.hex) == data(f" {request_id.hex.upper()} ")


def test_a_hold_that_counts_towards_two_budgets_names_both(wallet: Wallet) -> None:
    request_id = place(wallet)
    own, shared = (open_budget(wallet_id=wallet.pk, limit_micro=TOMAN) for _ in range(2))
    Hold.objects.filter(pk=request_id).update(budget=own, shared_budget=shared)
    assert f"counted towards budget {own} and budget {shared}" in text(request_id)
    Hold.objects.filter(pk=request_id).update(budget=None, shared_budget=None)  # as it is in the books


def test_a_request_is_found_by_what_its_client_called_it(wallet: Wallet) -> None:
    named = record(wallet, client_request_id="job 7")
    _older, newest = (place(wallet, settles=named, cost_micro=30_000) for _ in range(2))
    out = io.StringIO()
    call_command("explain_request", "job 7", mobile="0" + wallet.user.mobile[3:], stdout=out)
    assert newest.hex in out.getvalue()
    assert "Client id: job 7" in out.getvalue()


@pytest.mark.parametrize(
    ("mobile", "sentence"), [("0912", "not an Iranian mobile"), ("09120000000", "no settled request")]
)
def test_what_no_client_of_an_account_has_sent_is_not_found(mobile: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("explain_request", "job 7", mobile=mobile)


def test_a_request_that_runs_has_a_hold_and_no_cost(wallet: Wallet) -> None:
    request_id = place(wallet)
    found = data(request_id)
    assert found["state"] == "held"
    assert found["mobile"] == wallet.user.mobile
    assert found["hold"]["amount_micro"] == 50 * TOMAN
    assert found["record"] is None
    assert found["journal"] == []
    assert "50 Toman held since" in text(request_id)


def test_a_voided_request_says_that_it_cost_nothing(wallet: Wallet) -> None:
    nothing = {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}
    failed = record(wallet, outcome="upstream_failed", billed_by="nothing", status=502, **nothing)
    request_id = place(wallet, settles=failed)
    assert data(request_id)["state"] == "voided"
    shown = text(request_id)
    assert "the whole hold was given back" in shown
    assert "upstream failed, HTTP status 502" in shown
    assert "no entries; nothing was charged" in shown


def test_a_hold_past_its_expiry_is_told_from_one_that_was_swept(wallet: Wallet, web_log: Path) -> None:
    request_id = place(wallet)
    past = timezone.now() - timedelta(hours=1)
    Hold.objects.filter(pk=request_id).update(created_at=past, expires_at=past + timedelta(minutes=1))
    assert data(request_id)["state"] == "overdue"
    sweep_expired()
    with pytest.raises(CommandError, match=r"Nothing is known"):
        data(request_id)
    web_log.write_text(json.dumps({"message": "completion", "request": request_id.hex}) + "\n")
    assert data(request_id)["state"] == "expired"


def test_its_log_lines_are_found_in_both_forms_and_in_the_log_before(wallet: Wallet, web_log: Path) -> None:
    request_id = place(wallet)
    lines = [
        {"message": "completion", "request": request_id.hex},
        {"message": "void still waiting for the database", "request": str(request_id)},
    ]
    other = {"message": f"not about {request_id.hex}", "request": uuid.uuid4().hex}
    web_log.with_suffix(".log.1").write_text(json.dumps(lines[0]) + "\n")
    web_log.write_text(f'{{"torn": "{request_id.hex}\n{json.dumps(other)}\n{json.dumps(lines[1])}\n')
    assert data(request_id)["log"] == lines
    assert '"void still waiting for the database"' in text(request_id)


def test_the_price_list_is_the_one_that_the_request_began_with(wallet: Wallet) -> None:
    older = PriceFactory.create(
        valid_from=timezone.now() - timedelta(days=2), cached_input_rial_per_million=250
    )
    PriceFactory.create(
        model=older.model, valid_from=timezone.now() - timedelta(seconds=5), input_rial_per_million=2_000
    )
    request_id = place(wallet, settles=record(wallet, model=older.model.model_id), cost_micro=30_000)
    assert data(request_id)["priced_since"] == older.valid_from.isoformat()


def test_a_record_that_names_its_list_is_explained_by_it(wallet: Wallet) -> None:
    price = PriceFactory.create(further={"components": {"reasoning": 3_000, "request": 7}})
    PriceFactory.create(model=price.model)
    priced = record(
        wallet, model=price.model.model_id, price_list_id=price.pk, quantities={"reasoning": 2, "request": 1}
    )
    cost_micro = 10 * 1_000 + 3 * 4_000 + 2 * 3_000 + 7_000_000
    request_id = place(wallet, settles=priced, cost_micro=cost_micro)
    assert data(request_id)["priced_since"] == price.valid_from.isoformat()
    assert (
        "10 × 1,000 + 3 × 4,000 + 2 × 3,000 (reasoning) + 1 × 7,000,000 (request) = 7,028,000 micro-Rial"
        in text(request_id)
    )


def test_what_exceeded_the_hold_is_said(wallet: Wallet) -> None:
    beyond = record(wallet, uncovered_micro=10_000, upstream_cost_nanodollars=1_500)
    shown = text(place(wallet, settles=beyond, cost_micro=20_000))
    assert "10 × 1,000 + 5 × 4,000 − 10,000 = 20,000 micro-Rial" in shown
    assert "0.001 Toman beyond the hold, at the operator's expense" in shown
    assert "0.000001500 US dollars" in shown


def test_a_journal_entry_without_a_record_is_called_broken(wallet: Wallet) -> None:
    request_id = place(wallet, settles={}, cost_micro=10, writes_record=False)
    assert data(request_id)["state"] == "broken"
    assert "Run check_ledger" in text(request_id)


def test_money_that_moved_for_something_else_is_no_request(wallet: Wallet) -> None:
    [entry] = JournalEntry.objects.filter(wallet=wallet)
    with pytest.raises(CommandError, match="Nothing is known of request"):
        data(entry.transaction_id)


@pytest.mark.parametrize("given", ["", "7", "req-7", "g" * 32, "0" * 31])
def test_what_is_no_id_is_refused(given: str) -> None:
    with pytest.raises(CommandError, match="is not a request id"):
        call_command("explain_request", given)


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(CommandError, match="Nothing is known of request"):
        call_command("explain_request", str(uuid.uuid4()))
