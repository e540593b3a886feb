"""A worker process that is killed with an event on its way: another delivers it again, under the same id."""

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
from django.db import connection

from accounts.signals.models import WebhookEndpoint
from tests.accounts.signals.conftest import Clock, happen, run, states
from tests.accounts.signals.receiver import Receiver, status
from tests.live import ROOT, eventually

pytestmark = pytest.mark.slow

WORKER = "import django; django.setup(); from accounts.signals import delivery; delivery.run()"


def test_a_killed_workers_event_arrives_again_and_those_behind_it_in_order(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    happen(endpoint, 1, 2, 3)
    killed = threading.Event()

    def hang(handler: Any) -> None:
        if receiver.numbers()[-1] == 1:
            status(200)(handler)
        else:
            killed.wait(30)

    receiver.answer = hang
    database = connection.settings_dict
    url = f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
    )
    try:
        eventually(lambda: len(receiver.got) == 2, seconds=60)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        killed.set()
    assert states(endpoint) == ["delivered", "waiting", "waiting"]
    receiver.answer = status(200)
    clock.go(seconds=120)
    run(clock)
    assert receiver.numbers() == [1, 2, 2, 3]
    assert receiver.got[1].id == receiver.got[2].id
    assert states(endpoint) == ["delivered"] * 3
