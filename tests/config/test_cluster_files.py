"""What `deploy.cluster.render` writes for each machine, read by the programs that are to read it."""

import configparser
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.cluster import inventory, render, services
from tests.live import ROOT

CLUSTER = ROOT / "deploy" / "cluster"
INVENTORIES = ["example.toml", "loopback.toml"]


def written(tmp_path: Path, name: str) -> tuple[inventory.Inventory, Path]:
    made = inventory.read(CLUSTER / name)
    render.write(made, inventory.passwords(tmp_path), tmp_path)
    return made, tmp_path


@pytest.mark.parametrize("name", INVENTORIES)
def test_every_machine_gets_its_files_for_its_owner_alone(tmp_path: Path, name: str) -> None:
    made, folder = written(tmp_path, name)
    for machine in made.machines:
        files = list((folder / machine.name).iterdir())
        assert files
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((folder / "secrets.toml").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", INVENTORIES)
def test_patroni_waits_for_a_second_machine_and_its_lease_holds_two_tries(tmp_path: Path, name: str) -> None:
    made, folder = written(tmp_path, name)
    for machine in made.databases:
        patroni = yaml.safe_load((folder / machine.name / "patroni.yml").read_text())
        dcs = patroni["bootstrap"]["dcs"]
        assert dcs["synchronous_mode"] is dcs["synchronous_mode_strict"] is True
        assert dcs["loop_wait"] + 2 * dcs["retry_timeout"] <= dcs["ttl"]
        assert patroni["postgresql"]["connect_address"] == f"{machine.address}:5432"


def test_passwords_stay_what_they_are_and_each_is_its_own(tmp_path: Path) -> None:
    first = inventory.passwords(tmp_path)
    assert inventory.passwords(tmp_path) == first
    assert len(set(first.values())) == len(inventory.SECRETS)


def test_the_product_is_told_the_doors_of_its_own_machine(tmp_path: Path) -> None:
    made, folder = written(tmp_path, "example.toml")
    env = services.read_env(folder / "web2" / "hamiran.env")
    assert "@127.0.0.1:6432/" in env["DATABASE_URL"]
    assert env["ALLOWED_HOSTS"] == made.settings["ALLOWED_HOSTS"]


def test_pgbouncer_cuts_no_statement_short(tmp_path: Path) -> None:
    _made, folder = written(tmp_path, "example.toml")
    ini = configparser.ConfigParser()
    ini.read(folder / "web1" / "pgbouncer.ini")
    assert ini["pgbouncer"]["pool_mode"] == "transaction"
    assert "query_timeout" not in ini["pgbouncer"]


@pytest.mark.parametrize("name", INVENTORIES)
@pytest.mark.skipif(
    shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None, reason="haproxy is not installed"
)
def test_haproxy_takes_its_files(tmp_path: Path, name: str) -> None:
    made, folder = written(tmp_path, name)
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    assert haproxy is not None
    for file in (*(f"{web.name}/haproxy.cfg" for web in made.webs), "front/front.cfg"):
        checked = subprocess.run(
            [haproxy, "-c", "-f", str(folder / file)], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr
        assert "WARNING" not in checked.stderr


def test_an_inventory_of_two_databases_or_with_an_address_twice_is_refused(tmp_path: Path) -> None:
    for three in (
        {"db1": "10.0.0.1", "db2": "10.0.0.2"},
        {"db1": "10.0.0.1", "db2": "10.0.0.1", "db3": "10.0.0.3"},
    ):
        with pytest.raises(inventory.InventoryError):
            inventory.read(CLUSTER / "example.toml", databases=three)
    with pytest.raises(inventory.InventoryError):
        inventory.read(tmp_path / "missing.toml")
