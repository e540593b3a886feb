"""What deploy/ ships for containers, Kubernetes and systemd fits the code: its commands, settings, paths and probes."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SETTING = re.compile(r"^[A-Z][A-Z0-9_]+$")
# Of the image or of Python, not settings of ours.
NOT_OURS = {"PATH", "PYTHONUNBUFFERED"}


def manifests() -> list[dict[str, Any]]:
    files = [file for file in (DEPLOY / "kubernetes").glob("*.yaml") if file.name != "kustomization.yaml"]
    return [part for file in sorted(files) for part in yaml.safe_load_all(file.read_text())]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests():
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", ()), *pod.get("containers", ())]:
            yield manifest["metadata"]["name"], container


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())
    return found


def known_settings() -> set[str]:
    table = (DEPLOY / "README.md").read_text().partition("\n## Settings\n")[2]
    return set(re.findall(r"`([A-Z][A-Z0-9_]+)`", table))


def given_settings() -> Iterator[str]:
    for file in ("hamiran.env", "secrets.env.example"):
        for line in (DEPLOY / "kubernetes" / file).read_text().splitlines():
            yield line.partition("=")[0]
    for name, service in compose()["services"].items():
        if name not in {"postgres", "valkey"}:
            yield from service["environment"]
    for unit in UNITS:
        yield from re.findall(r"^Environment=([A-Z_]+)", unit.read_text(), re.MULTILINE)
    yield from re.findall(r"\b([A-Z][A-Z0-9_]+)=", (DEPLOY / "container" / "Containerfile").read_text())


def test_every_setting_that_is_given_is_one_that_there_is() -> None:
    given = {name.removesuffix("_FILE") for name in given_settings()} - NOT_OURS
    assert {"SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS", "HAMIRAN_VAR", "PORT"} <= given
    assert given - known_settings() == {"BASE"}  # the image that ours is made from


def commands() -> Iterator[list[str]]:
    for _name, container in containers():
        yield container["command"]
    for name, service in compose()["services"].items():
        if name not in {"postgres", "valkey"} and "command" in service:
            yield service["command"]
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE):
            yield shlex.split(line)


def test_every_command_starts_something_that_there_is() -> None:
    seen = set()
    for command in commands():
        words = " ".join(command)
        for name in re.findall(r"manage\.py ([a-z_]+)", words):
            places = [*ROOT.glob(f"*/management/commands/{name}.py")]
            assert places or name == "migrate", words
            seen.add(name)
        for module in re.findall(r"-m (config\.\w+)", words):
            assert (ROOT / (module.replace(".", "/") + ".py")).exists(), words
            seen.add(module)
        if "celery" in command:
            assert command[command.index("celery") :][:3] == ["celery", "-A", "config"], words
            seen.add(command[command.index("config") + 1])
    assert seen == {"migrate", "load_catalogue", "serve", "config.web", "worker", "beat"}


def test_workers_are_started_alike_everywhere() -> None:
    options = {tuple(command[command.index("worker") :]) for command in commands() if "worker" in command}
    assert len(options) == 1


def test_no_container_may_more_than_it_needs() -> None:
    found = list(containers())
    assert {name for name, _container in found} == {"web", "worker", "beat", "migrate"}
    for name, container in found:
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"], name
        assert not rights["allowPrivilegeEscalation"], name
        assert rights["capabilities"] == {"drop": ["ALL"]}, name
        assert "memory" in container["resources"]["limits"], name


def test_probes_ask_where_the_service_answers() -> None:
    from django.urls import get_resolver

    resolver = get_resolver("proxy.api.urls")
    probes = [
        container[probe]["httpGet"]["path"]
        for _name, container in containers()
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        if probe in container
    ]
    assert probes == ["/readyz", "/readyz", "/healthz"]
    for path in probes:
        assert resolver.resolve(path)


def test_a_pod_has_the_time_to_end_its_answers() -> None:
    env = dict(line.split("=", 1) for line in (DEPLOY / "kubernetes" / "hamiran.env").read_text().split())
    (web,) = [
        part for part in manifests() if part["kind"] == "Deployment" and part["metadata"]["name"] == "web"
    ]
    needed = int(env["SHUTDOWN_DELAY_SECONDS"]) + int(env["SHUTDOWN_GRACE_SECONDS"]) + 15
    assert web["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= needed


def test_no_secret_stands_in_what_is_shipped() -> None:
    for line in (DEPLOY / "kubernetes" / "secrets.env.example").read_text().splitlines():
        name, _equals, value = line.partition("=")
        assert SETTING.match(name)
        assert value in {"", "1:"} or "…" in value or name == "REDIS_URL"
    assert "secrets.env" in (ROOT / ".gitignore").read_text()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_puts_it_together(tmp_path: Path) -> None:
    copy = tmp_path / "kubernetes"
    shutil.copytree(DEPLOY / "kubernetes", copy)
    shutil.copy(copy / "secrets.env.example", copy / "secrets.env")
    ran = subprocess.run(["kubectl", "kustomize", str(copy)], capture_output=True, text=True, check=True)
    made = list(yaml.safe_load_all(ran.stdout))
    assert {part["kind"] for part in made} >= {"Deployment", "Job", "PodDisruptionBudget", "NetworkPolicy"}
    assert all(part["metadata"].get("namespace", "hamiran") == "hamiran" for part in made)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_reads_every_unit(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"/opt/hamiran/\.venv/bin/python", "/bin/true", unit.read_text()))
    ran = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert not [line for line in ran.stderr.splitlines() if unit.name.split("@")[0].split(".")[0] in line]
