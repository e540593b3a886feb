"""Every figure that an alert or a picture asks for is one that the service tells, with the labels that it has."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache

import prometheus_client
import pytest
import yaml

import accounts.channels.delivery
import accounts.shared.replica
import accounts.sms.sending
import config.tasks.figures
import proxy.api.metrics
import proxy.http.responses
import proxy.http.throttling
import proxy.limits.limiter
import proxy.metering.figures
import proxy.metering.settlement
import proxy.upstreams.breaker_state
import proxy.upstreams.rests
import proxy.upstreams.routing
import wallet.ledger.group_commit
import wallet.payments.topups
from tests.live import ROOT

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "hamiran.json"
MEASURING = (
    accounts.channels.delivery,
    accounts.sms.sending,
    accounts.shared.replica,
    config.tasks.figures,
    proxy.http.responses,
    proxy.http.throttling,
    proxy.limits.limiter,
    proxy.metering.figures,
    proxy.metering.settlement,
    proxy.upstreams.breaker_state,
    proxy.upstreams.rests,
    proxy.upstreams.routing,
    wallet.ledger.group_commit,
    wallet.payments.topups,
)
OURS = re.compile(r"\b(hamiran_\w+)(?:\{([^}]*)\})?")
BY = re.compile(r"\bby \(([^)]*)\)")
OTHERS = {"le", "job", "instance"}  # Prometheus's own labels


@cache
def told() -> dict[str, set[str]]:
    """What /metrics can say: the names of its samples, each with its labels."""
    names: dict[str, set[str]] = {
        **{name: set() for name in proxy.api.metrics.STATE},
        **{name: set() for name in ("hamiran_postgresql_up", "hamiran_queue_waiting", "hamiran_valkey_up")},
        **{name: set() for name in config.tasks.figures.ALL},
        **{name: {"task"} for name in config.tasks.figures.BY_TASK},
    }
    for module in MEASURING:
        for metric in vars(module).values():
            match metric:
                case prometheus_client.Counter():
                    names[f"{metric._name}_total"] = set(metric._labelnames)
                case prometheus_client.Histogram():
                    for end in ("bucket", "sum", "count"):
                        names[f"{metric._name}_{end}"] = set(metric._labelnames)
                case prometheus_client.Gauge():
                    names[metric._name] = set(metric._labelnames)
    return names


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_what_is_asked_for_is_told() -> None:
    found = list(expressions())
    assert len(found) > 30
    for title, expression in found:
        names = OURS.findall(expression)
        assert names or "up{" in expression, title
        labels = set()
        for name, matchers in names:
            assert name in told(), f"{title}: {name}"
            assert set(re.findall(r"(\w+)=", matchers)) <= told()[name], title
            labels |= told()[name]
        for grouped in BY.findall(expression):
            assert {label.strip() for label in grouped.split(",")} <= labels | OTHERS, title


def test_every_state_that_needs_somebody_has_an_alert() -> None:
    asked = {name for title, expression in expressions() for name, _matchers in OURS.findall(expression)}
    assert set(proxy.api.metrics.STATE) | set(config.tasks.figures.ALL) <= asked


def test_every_alert_says_what_to_do() -> None:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
            assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_prometheus_reads_the_rules_and_the_scrape() -> None:
    folder = ALERTS.parent
    for check in (
        ["promtool", "check", "rules", str(ALERTS)],
        ["promtool", "check", "config", "--syntax-only", str(folder / "prometheus.yml")],
    ):
        ran = subprocess.run(check, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
