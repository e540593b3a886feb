"""What the doctor says of an installation with one thing wrong; that a sound one is found well is in test_serve."""

import io
import json
import os
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts.channel_models import BotState
from config import doctor, embedded, wal_archive
from config.celery import app
from config.doctor import Finding, Level, business, machine
from proxy.catalogue.models import LanguageModel, Upstream
from tests.factories import WalletFactory
from tests.live import free_port
from wallet.ledger import writer
from wallet.ledger.models import Hold

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_runs(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.PORT, settings.VAR_DIR = free_port(), tmp_path
    # No worker runs in these tests, and asking for one takes its two seconds.
    monkeypatch.setattr(app.control, "ping", lambda timeout: [{"worker@here": {"ok": "pong"}}])


def said(part: str) -> list[Finding]:
    return [finding for finding in doctor.examine() if finding.part == part]


def worst(part: str) -> Finding:
    order = [Level.OK, Level.WARNING, Level.PROBLEM]
    return max(said(part), key=lambda finding: order.index(finding.level))


def test_sound_engines_are_found_well() -> None:
    assert worst("PostgreSQL").level is Level.OK
    assert worst("Valkey").level is Level.OK
    assert worst("holds").said == "0 open, none is late"


def test_a_service_that_does_not_run_is_a_problem() -> None:
    assert worst("web").level is Level.PROBLEM
    assert "does not answer" in worst("web").said


def test_a_data_folder_that_cannot_be_used_is_a_problem(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.VAR_DIR = tmp_path / "file" / "var"
    assert worst("data folder").level is Level.PROBLEM
    assert "HAMIRAN_VAR" in worst("data folder").advice


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "DISK_MIN_BYTES", 1 << 60)
    assert worst("data folder").level is Level.PROBLEM


def test_without_valkey_it_says_what_still_works(settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    assert worst("Valkey").level is Level.WARNING
    assert "Calls are served" in worst("Valkey").advice


def test_without_a_worker_top_ups_are_not_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.control, "ping", lambda timeout: [])
    assert worst("Celery").level is Level.PROBLEM


def test_holds_that_nobody_sweeps_are_a_problem() -> None:
    wallet = WalletFactory.create(credit_micro=1_000_000)
    expired = timezone.now() - timedelta(minutes=5)
    Hold.objects.create(
        id=uuid.uuid4(),
        wallet_id=wallet.pk,
        amount_micro=0,
        created_at=expired - timedelta(minutes=10),
        expires_at=expired,
    )
    assert worst("holds") == Finding(
        "holds",
        Level.PROBLEM,
        "1 holds have expired and were not swept",
        "Worker or beat stand still: see var/logs/worker.log and var/logs/beat.log.",
    )


def test_a_frozen_wallet_is_a_problem() -> None:
    writer.freeze(wallet_id=WalletFactory.create().pk, because="a test")
    assert worst("wallets").level is Level.PROBLEM


def test_a_model_that_lacks_a_price_is_named() -> None:
    LanguageModel.objects.create(
        model_id="no-price", is_active=True, context_tokens=1000, max_output_tokens=100
    )
    assert any("no-price is not on sale" in finding.said for finding in said("models"))


def test_an_upstream_that_cannot_be_reached_is_a_problem() -> None:
    port = free_port()
    Upstream.objects.create(name="gone", base_url=f"http://127.0.0.1:{port}/v1")
    (finding,) = [each for each in said("upstreams") if "gone" in each.said]
    assert finding.level is Level.PROBLEM
    assert f"127.0.0.1:{port}" in finding.said


def test_an_upstream_key_that_cannot_be_read_is_a_problem() -> None:
    Upstream.objects.create(name="locked", base_url="http://127.0.0.1:9/v1", api_key_encrypted=b"not ours")
    (finding,) = [each for each in said("upstreams") if "locked" in each.said]
    assert "FIELD_KEYS" in finding.advice


def test_a_bot_that_does_not_work_is_told_with_what_to_do(settings: Any) -> None:
    settings.TELEGRAM_BOT_TOKEN = "1:telegram"
    assert "not asked yet" in worst("bots").said
    for problem, words in (("KeyRefused", "token"), ("Conflict", "webhook"), ("Unreachable", "proxy")):
        BotState.objects.update_or_create(pk="telegram", defaults={"problem": problem})
        assert words in worst("bots").advice
    BotState.objects.update(problem="", username="hamiran_bot")
    assert worst("bots").level is Level.OK


def test_a_check_that_breaks_down_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(business, "wallets", broken)
    assert "could not be examined" in worst("wallets").said
    assert worst("models")


def test_an_old_backup_is_told_in_production(settings: Any) -> None:
    settings.SANDBOX = False
    settings.DATABASE_URL = embedded.database_url(settings.VAR_DIR)
    assert worst("backups").level is Level.WARNING
    dump = settings.VAR_DIR / "backups" / "hamiran-20261101-000000.dump"
    dump.parent.mkdir()
    dump.touch()
    assert worst("backups").level is Level.OK
    long_ago = time.time() - 3 * 86_400
    os.utime(dump, (long_ago, long_ago))
    assert "3 days old" in worst("backups").said


def test_its_exit_status_and_json_say_the_same_as_its_lines() -> None:
    out = io.StringIO()
    with pytest.raises(SystemExit) as exit_status:  # no web process runs here
        call_command("doctor", json=True, stdout=out)
    assert exit_status.value.code == 1
    told = json.loads(out.getvalue())
    assert not told["ok"]
    lines = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=lines)
    problems = [finding["said"] for finding in told["findings"] if finding["level"] == "problem"]
    assert problems
    assert all(f"PROBLEM  {finding.part}: {finding.said}" in lines.getvalue() for finding in said("web"))


def test_an_archive_that_receives_nothing_or_has_no_base_is_told(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.WAL_ARCHIVE = tmp_path / "archive"
    settings.DATABASE_URL = embedded.database_url(settings.VAR_DIR)
    monkeypatch.setattr(wal_archive, "is_received", lambda: False)
    first, second = said("backups")
    assert "do not reach" in first.said
    assert "no base backup" in second.said
    (settings.WAL_ARCHIVE / "base" / "20261101-000000").mkdir(parents=True)
    monkeypatch.setattr(wal_archive, "is_received", lambda: True)
    [old] = said("backups")
    assert (old.level, "days old" in old.said) == (Level.WARNING, True)
    (settings.WAL_ARCHIVE / "base" / f"{timezone.now():{wal_archive.NAME}}").mkdir()
    assert worst("backups").level is Level.OK
