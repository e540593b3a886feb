"""Who is compared: direct to the upstream, LiteLLM and Portkey here, Hamiran in builds.py; each ready to answer."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench import processes
from bench.processes import Running
from bench.upstream import model_name

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = ROOT / "var" / "bench"
LITELLM = FOREIGN / "litellm" / "bin" / "litellm"
PORTKEY = FOREIGN / "portkey" / "node_modules" / "@portkey-ai" / "gateway"
MASTER_KEY = "sk-bench"

# (words, ms between two) of the answers that are asked for.
AS_FAST_AS_IT_GOES = (50, 5)
TWENTY_A_SECOND = (200, 50)
ASK = {
    "model": model_name(words=50, every_ms=5),
    "messages": [{"role": "user", "content": "Hello!"}],
    "max_tokens": 50,  # a real model may go on for long
}
PACES = (AS_FAST_AS_IT_GOES, TWENTY_A_SECOND)


@dataclass(frozen=True, slots=True)
class Contender:
    """`web` is what is pinned to the gateways' core; `engines` work for it on the other."""

    name: str
    version: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    web: Running | None = None
    engines: tuple[Running, ...] = ()
    valkey_url: str = ""
    database_url: str = ""

    @contextlib.contextmanager
    def thawed(self) -> Iterator[None]:
        """Contenders are frozen from their first answer on; for the length of the block this one is not."""
        if self.web is None:
            yield
            return
        self.web.thaw()
        try:
            yield
        finally:
            self.web.freeze()

    def answers(self) -> bool:
        try:
            answer = httpx.post(self.url, headers=self.headers, json=ASK, timeout=30)
        except httpx.TransportError:
            return False
        return answer.status_code == 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def direct(logs: Path) -> Iterator[Contender]:
    """The upstream itself, on the cores of the load."""
    port = free_port()
    upstream = processes.start(
        "upstream", [sys.executable, "-m", "bench.upstream", str(port)], log=logs / "upstream.log"
    )
    try:
        contender = Contender("direct", "", completions(port), {"content-type": "application/json"})
        upstream.wait_until(contender.answers)
        yield contender
    finally:
        upstream.stop()


@contextlib.contextmanager
def litellm(logs: Path, upstream_url: str) -> Iterator[Contender]:
    """Lightest setting: a master key, no database, one worker, logs of errors alone."""
    port = free_port()
    models = [
        {
            "model_name": (name := model_name(words=words, every_ms=every_ms)),
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": base_url(upstream_url),
                "api_key": "none",
            },
        }
        for words, every_ms in PACES
    ]
    config = logs / "litellm.json"
    config.write_text(
        json.dumps(
            {
                "model_list": models,
                "general_settings": {"master_key": MASTER_KEY},
                "litellm_settings": {"telemetry": False},
            }
        )
    )
    command = [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    web = processes.start(
        "litellm",
        [*command, "--num_workers", "1", "--telemetry", "False"],
        log=logs / "litellm.log",
        env={"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        is_gateway=True,
    )
    headers = {"content-type": "application/json", "authorization": f"Bearer {MASTER_KEY}"}
    with ready(Contender("LiteLLM", _litellm_version(), completions(port), headers, web)) as contender:
        yield contender


@contextlib.contextmanager
def portkey(logs: Path, upstream_url: str) -> Iterator[Contender]:
    """As it comes: no keys, no limits, no billing."""
    port = free_port()
    web = processes.start(
        "portkey",
        ["node", str(PORTKEY / "build" / "start-server.js"), f"--port={port}", "--headless"],
        log=logs / "portkey.log",
        is_gateway=True,
    )
    headers = {
        "content-type": "application/json",
        "authorization": "Bearer none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": base_url(upstream_url),
    }
    with ready(Contender("Portkey", _portkey_version(), completions(port), headers, web)) as contender:
        yield contender


@contextlib.contextmanager
def ready(contender: Contender) -> Iterator[Contender]:
    """Frozen once it has answered, stopped at the end."""
    assert contender.web is not None
    try:
        contender.web.wait_until(contender.answers)
        contender.web.freeze()
        print(f"{contender.name} is process {contender.web.process.pid}", flush=True)
        yield contender
    finally:
        contender.web.stop()


def _litellm_version() -> str:
    metadata = next(LITELLM.parent.parent.glob("lib/python*/site-packages/litellm-*.dist-info"))
    return metadata.name.removeprefix("litellm-").removesuffix(".dist-info")


def _portkey_version() -> str:
    """With that of Node.js, on which much of its speed depends, and whether it streams."""
    version = json.loads((PORTKEY / "package.json").read_text())["version"]
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{version}, Node.js {node.removeprefix('v')}"


def completions(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1/chat/completions"


def base_url(completions_url: str) -> str:
    return completions_url.removesuffix("/chat/completions")
