"""Which machines a cluster has, from a TOML file, and the passwords that they share, which are made once."""

import secrets
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

SECRETS = (
    "postgres_password", "replication_password", "hamiran_password", "patroni_password", "valkey_password",
    "secret_key", "pepper", "field_key",
)  # fmt: skip
DATABASE_MACHINES = 3


class InventoryError(Exception):
    """The inventory cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`local` is where its own processes reach what listens for them alone."""

    name: str
    address: str
    local: str


@dataclass(frozen=True)
class Inventory:
    """`databases` run etcd, PostgreSQL under Patroni and Valkey; `webs` serve and work; `front` shares out the calls.

    `network` is from where machines are reached. Data lie in `data`, the written files in `files`, on each machine;
    both can have `{name}` in them.
    """

    databases: list[Machine]
    webs: list[Machine]
    front: Machine
    front_port: int
    network: str
    data: str
    files: str
    postgres_bin: str
    shared_buffers: str
    lease_seconds: int
    watchdog: str
    settings: dict[str, str] = field(default_factory=dict)

    @cached_property
    def machines(self) -> list[Machine]:
        return [*self.databases, *self.webs, self.front]

    def data_of(self, machine: Machine) -> str:
        return self.data.format(name=machine.name)

    def files_of(self, machine: Machine) -> str:
        return self.files.format(name=machine.name)


def read(path: Path, **instead: Any) -> Inventory:
    """The inventory in a file, with some values given here `instead`. Raises InventoryError."""
    try:
        given = {**tomllib.loads(path.read_text()), **instead}
        one_machine = bool(given.pop("one_machine", False))

        def machine(name: str, address: str) -> Machine:
            return Machine(name, address, address if one_machine else "127.0.0.1")

        made = Inventory(
            databases=[machine(*each) for each in given.pop("databases").items()],
            webs=[machine(*each) for each in given.pop("webs").items()],
            front=machine("front", given.pop("front")),
            **given,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InventoryError(f"{path} cannot be read: {error!r}") from error
    if len(made.databases) != DATABASE_MACHINES:
        raise InventoryError(
            f"{path} names {len(made.databases)} database machines. It takes three: with two, none may go on alone."
        )
    if len({each.address for each in made.machines}) != len(made.machines):
        raise InventoryError(f"{path} gives an address twice.")
    return made


def passwords(folder: Path) -> dict[str, str]:
    """Those in `secrets.toml` of the folder, and made where they are missing."""
    path = folder / "secrets.toml"
    known = tomllib.loads(path.read_text()) if path.exists() else {}
    made = {name: known.get(name) or secrets.token_hex(24) for name in SECRETS}
    if made != known:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text("".join(f'{name} = "{value}"\n' for name, value in made.items()))
    return made
