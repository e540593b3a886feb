"""Writes the files of every machine of an inventory: `python -m deploy.cluster.render my.toml --into FOLDER`."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.template import Context, Engine

from deploy.cluster import inventory
from deploy.cluster.inventory import Inventory, InventoryError, Machine

TEMPLATES = Path(__file__).parent / "templates"
LIMITS_PORTS = {"a": 7000, "b": 7001}


@dataclass(frozen=True, slots=True)
class Lease:
    """How long the primary's word holds without being renewed, and how often it is; Patroni's own names."""

    ttl: int

    @property
    def loop_wait(self) -> int:
        return max(1, self.ttl // 5)

    @property
    def retry_timeout(self) -> int:
        return (self.ttl - self.loop_wait) // 2


def write(made: Inventory, secrets: dict[str, str], into: Path) -> None:
    """The files of each machine, in a folder of its own below `into`; readable by their owner alone."""
    engine = Engine(dirs=[str(TEMPLATES)], autoescape=False)
    for machine in made.machines:
        folder = into / machine.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, template, further in _files(made, machine):
            context = Context({**_context(made, secrets, machine), **further}, autoescape=False)
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(engine.get_template(template).render(context))


def _files(made: Inventory, machine: Machine) -> list[tuple[str, str, dict[str, Any]]]:
    if machine in made.databases:
        plain = ["etcd.env", "patroni.yml", "database.sql"]
        limits = [
            (f"valkey-{which}.conf", "valkey-limits.conf", {"which": which, "port": str(port)})
            for which, port in LIMITS_PORTS.items()
        ]
    elif machine in made.webs:
        plain = ["haproxy.cfg", "pgbouncer.ini", "userlist.txt", "valkey-queue.conf", "hamiran.env"]
        limits = []
    else:
        plain, limits = ["front.cfg"], []
    return [*((name, name, {}) for name in plain), *limits]


def _context(made: Inventory, secrets: dict[str, str], machine: Machine) -> dict[str, Any]:
    lease = Lease(made.lease_seconds)
    site = urlsplit(made.settings.get("BASE_URL", "http://127.0.0.1"))
    return {
        "machine": machine,
        "databases": made.databases,
        "webs": made.webs,
        "front": made.front,
        "front_port": str(made.front_port),
        "network": made.network,
        "data": made.data_of(machine),
        "files": made.files_of(machine),
        "postgres_bin": made.postgres_bin,
        "shared_buffers": made.shared_buffers,
        "lease": {name: str(getattr(lease, name)) for name in ("ttl", "loop_wait", "retry_timeout")},
        "watchdog": made.watchdog,
        "settings": list(made.settings.items()),
        "secrets": secrets,
        "scheme": site.scheme,
        "host": site.hostname or "",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inventory", type=Path)
    parser.add_argument(
        "--into", type=Path, required=True, help="a folder; the passwords are kept in it, too"
    )
    options = parser.parse_args()
    try:
        made = inventory.read(options.inventory)
    except InventoryError as error:
        sys.exit(str(error))
    write(made, inventory.passwords(options.into), options.into)
    sys.stdout.write(f"Written for {', '.join(each.name for each in made.machines)}, in {options.into}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
