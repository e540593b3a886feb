"""Machines that can lose power or the network: namespaces of this one, joined by a bridge.

Needs root, in a network namespace of its own (`unshare --net`), so that nothing here touches the real network.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import psutil

from config import leash
from deploy.cluster import services
from deploy.cluster.services import Service
from tests.live import ROOT

BRIDGE = "cluster0"
HERE = "10.77.0.254"  # this process, on the bridge
NOWHERE = "02:00:00:00:00:00"
# The first process of a machine: it has only to be there, and lets orphans go when they end.
INIT = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n    signal.pause()"
FIRST_SECONDS = 5


def lay_network() -> None:
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0")
    run("ip", "addr", "add", f"{HERE}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@dataclass
class Box:
    """One machine: power, cable, and what runs inside."""

    name: str
    address: str
    first: int = 0  # the first process, by this machine's number
    _holder: "subprocess.Popen[bytes] | None" = None
    _deaf_to: list[str] = field(default_factory=list)

    def power_on(self) -> None:
        alone = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            leash.argv([*alone, sys.executable, "-IS", "-c", INIT]),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.first = self._first_child(self._holder.pid)
        cable = ["ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0"]
        # The address of its card stays, or the others would go on talking to the one it had before.
        run(
            *cable,
            "address",
            f"02:00:00:00:01:{int(self.address.rsplit('.', 1)[1]):02x}",
            "netns",
            str(self.first),
        )
        run("ip", "link", "set", self._cable, "master", BRIDGE, "up")
        for words in (
            ("addr", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            run("nsenter", "-t", str(self.first), "-n", "ip", *words)

    def power_off(self, doors: "Iterable[subprocess.Popen[bytes]]" = ()) -> None:
        """As by pulling the plug: everything in it is gone at once, and its cable with it.

        `doors` are the processes of this machine that wait for one inside. One that was stopped with it would never
        take note of its end, and the machine never be gone.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.first, signal.SIGKILL)
        for door in doors:
            door.kill()
            door.wait()
        if self._holder is not None:
            self._holder.wait()
        deadline = time.monotonic() + FIRST_SECONDS
        while self._cable in os.listdir("/sys/class/net") and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(subprocess.CalledProcessError):
            run("ip", "link", "del", self._cable)

    def pull_cable(self) -> None:
        run("ip", "link", "set", self._cable, "down")

    def plug_in(self) -> None:
        run("ip", "link", "set", self._cable, "up")
        for address in self._deaf_to:
            run("nsenter", "-t", str(self.first), "-n", "ip", "neigh", "del", address, "dev", "eth0")
        self._deaf_to = []

    def talk_past(self, address: str) -> None:
        """What goes to an address is lost on the way, without a word."""
        lost = ("ip", "neigh", "replace", address, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")
        run("nsenter", "-t", str(self.first), "-n", *lost)
        self._deaf_to.append(address)

    def inside(self, service: Service) -> list[str]:
        """The command that runs a service on it."""
        enter = ["nsenter", "-t", str(self.first), "-n", "-m", "-p", f"--wd={ROOT}"]
        disguise = services.NOT_ROOT if service.refuses_root else []
        return [*enter, *disguise, "env", *(f"{k}={v}" for k, v in service.env.items()), *service.argv]

    def processes(self) -> list[psutil.Process]:
        """All of it but the first, whoever is their parent."""
        found = []
        space = os.readlink(f"/proc/{self.first}/ns/pid")
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                if process.pid != self.first and os.readlink(f"/proc/{process.pid}/ns/pid") == space:
                    found.append(process)
        return found

    def signal(self, number: signal.Signals) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    @property
    def _cable(self) -> str:
        return f"v-{self.name}"

    def _first_child(self, holder: int) -> int:
        deadline = time.monotonic() + FIRST_SECONDS
        while time.monotonic() < deadline:
            children = psutil.Process(holder).children()
            if children:
                return int(children[0].pid)
            time.sleep(0.01)
        raise RuntimeError(f"{self.name} did not start")
