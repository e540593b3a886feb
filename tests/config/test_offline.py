"""`make run` on a machine without a network, from the folder that `make wheelhouse` made on another."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live import ROOT

# A network namespace of its own, in which the loopback interface is all there is.
CUT_OFF = ["unshare", "--net", "--map-root-user", "sh", "-c"]
RUN = """
set -e
ip link set lo up
! {python} -c 'import socket; socket.create_connection(("192.0.2.1", 443), 2)' 2>/dev/null
make run WHEELHOUSE={wheels} PYTHON={python} > {log} 2>&1 &
made=$!
for second in $(seq 120); do
    grep -q 'Ctrl-C stops everything' {log} && break
    kill -0 $made 2>/dev/null || break
    sleep 1
done
{python} -c 'import urllib.request as r; print(r.urlopen("http://127.0.0.1:8000/readyz", timeout=5).read().decode())'
kill $made
wait $made || true
"""


def can_be_cut_off() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return not subprocess.run([*CUT_OFF, "ip link set lo up"], capture_output=True, check=False).returncode


@pytest.mark.proof
@pytest.mark.timeout(400)
@pytest.mark.skipif(
    not can_be_cut_off(), reason="needs util-linux and iproute2, and the right to a namespace"
)
def test_a_fresh_copy_installs_and_serves_with_the_network_cut(tmp_path: Path) -> None:
    wheels, copy, log = tmp_path / "wheels", tmp_path / "copy", tmp_path / "run.log"
    subprocess.run(["make", "wheelhouse", f"WHEELHOUSE={wheels}"], cwd=ROOT, check=True, capture_output=True)
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in tracked.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "HAMIRAN"))}
    script = RUN.format(wheels=wheels, python=shutil.which("python3"), log=log)
    ran = subprocess.run(
        [*CUT_OFF, script], cwd=copy, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr + (log.read_text() if log.exists() else "")
    assert '"ready":true' in ran.stdout
