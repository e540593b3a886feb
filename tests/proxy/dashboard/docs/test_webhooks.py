"""What the reference tells of webhooks is so: the events as they are sent, the code as it works."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from standardwebhooks import WebhookVerificationError

from accounts.signals import signing
from accounts.signals.events import Event
from keys import lifecycle
from keys.rules import KeyRules
from proxy.catalogue import offers
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.dashboard.docs import webhooks
from tests.accounts.signals.told import told
from tests.factories import SIGNING_SECRET
from tests.live import eventually, free_port, listens
from tests.proxy.factories import RouteFactory
from tests.wallet.payments import test_topups as topups
from tests.wallet.test_signals import looked, watched
from wallet import budget_alerts
from wallet.ledger.budgets import open_budget
from wallet.ledger.models import BudgetMark
from wallet.ledger.periods import Period

BODY = b'{"type":"key.created","timestamp":"2026-11-30T08:15:00Z","data":{"name":"\xd9\x88\xd8\xa8"}}'


def members(data: Any) -> Any:
    """The shape of a message: which members it has, however deep."""
    return {name: members(value) for name, value in data.items()} if isinstance(data, dict) else None


@pytest.mark.django_db
def test_events_are_sent_as_the_page_shows_them() -> None:
    wallet, endpoint = watched(events=list(Event.values))
    looked(wallet, -950)
    looked(wallet, 950)
    topup = topups.started(wallet)
    topups.pay(topup)
    topups.come_back(topup)
    key = lifecycle.create(user_id=wallet.pk, name="web")
    lifecycle.revoke(user_id=wallet.pk, key_id=key.key_id)
    with transaction.atomic():
        offers.set_price(
            model=RouteFactory.create().model,
            price=PriceQuote(20_000, 50_000),
            valid_from=timezone.now() + timedelta(days=1),
        )
    budget_id = open_budget(wallet_id=wallet.pk, limit_micro=1_000, period=Period.MONTH)
    lifecycle.create(user_id=wallet.pk, name="capped", rules=KeyRules(budget_id=budget_id))
    for percent in (80, 100):
        BudgetMark.objects.create(
            budget_id=budget_id, starts_at=timezone.now(), percent=percent, reached_at=timezone.now()
        )
    assert budget_alerts.tell_due() == 2
    sent = {event: members(data) for event, data in told(endpoint)}
    shown = {each.event: members(each.data) for each in webhooks.rows(model_id="m")}
    assert shown == sent
    assert set(shown) == set(Event.values)


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["en", "fa"])
def test_the_page_has_every_event_and_every_language(language: str) -> None:
    browser = Client()
    browser.cookies["hamiran_language"] = language
    page = browser.get("/docs/").content.decode()
    for row in webhooks.rows(model_id="m"):
        assert f"<code>{row.event}</code>" in page
    for verifier in webhooks.VERIFIERS:
        assert f'id="verify-{verifier.slug}-code"' in page


def signed(*, age: int = 0, secret: str = SIGNING_SECRET) -> dict[str, str]:
    return signing.headers(
        event_id="evt", timestamp=int(time.time()) - age, body=BODY,
        signing_secrets=[signing.new_secret(), secret],
    )  # fmt: skip


BAD = [
    (BODY.replace(b"created", b"revoked"), signed()),
    (BODY, signed(secret=signing.new_secret())),
    (BODY, signed(age=600)),
    (BODY, signed() | {"webhook-id": "another"}),
    (BODY, {}),
]


def test_the_python_of_the_page_takes_ours_and_nothing_else() -> None:
    names: dict[str, Any] = {}
    exec(webhooks.PYTHON.replace("whsec_your-secret", SIGNING_SECRET), names)
    assert names["receive"](BODY, signed()) == json.loads(BODY)
    for body, headers in BAD:
        with pytest.raises(WebhookVerificationError):
            names["receive"](body, headers)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_node_of_the_page_takes_ours_and_nothing_else(tmp_path: Path) -> None:
    cases = [[body.decode(), headers] for body, headers in [(BODY, signed()), *BAD]]
    (tmp_path / "receive.mjs").write_text(webhooks.NODE.replace("whsec_your-secret", SIGNING_SECRET))
    (tmp_path / "run.mjs").write_text(
        'import { receive } from "./receive.mjs";\n'
        f"const cases = {json.dumps(cases)};\n"
        "const taken = cases.map(([body, headers]) => {\n"
        "  try { return receive(body, headers); } catch { return null; }\n"
        "});\n"
        "console.log(JSON.stringify(taken));\n"
    )
    ran = subprocess.run(
        ["node", "run.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(ran.stdout) == [json.loads(BODY), None, None, None, None, None]


@pytest.fixture
def php(tmp_path: Path) -> Iterator[str]:
    """Where PHP's own server answers with the code of the page."""
    if shutil.which("php") is None:
        pytest.skip("the PHP of the page was not run: there is no PHP here (Debian: apt-get install php-cli)")
    (tmp_path / "receive.php").write_text(webhooks.PHP.strip().replace("whsec_your-secret", SIGNING_SECRET))
    port = free_port()
    with subprocess.Popen(
        ["php", "-S", f"127.0.0.1:{port}", "receive.php"], cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as server:
        try:
            eventually(lambda: listens(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def test_the_php_of_the_page_takes_ours_and_nothing_else(php: str) -> None:
    answers = [httpx.post(php, content=body, headers=headers) for body, headers in [(BODY, signed()), *BAD]]
    assert [answer.status_code for answer in answers] == [204, 400, 400, 400, 400, 400]
    assert {answer.content for answer in answers} == {b""}
