"""PostgreSQL or Valkey as the build in the working directory has it, until SIGINT: `python engine.py KIND FOLDER`.

A script, and `config` is that build's: another commit's engines are started by its own code. Once the engine
answers, FOLDER holds the file KIND.ready.
"""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from config import embedded

PARTS = {
    "postgresql": (embedded.prepare_postgres, embedded.wait_for_postgres, embedded.database_url),
    "valkey": (embedded.prepare_valkey, embedded.wait_for_redis, embedded.redis_url),
}


def main(kind: str, folder: str) -> None:
    var = Path(folder)
    prepare, wait, url = PARTS[kind]
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where a shell runs this in the background
    engine = subprocess.Popen(prepare(var))
    try:
        wait(url(var))
        (var / f"{kind}.ready").touch()
        with contextlib.suppress(KeyboardInterrupt):
            engine.wait()
    finally:
        engine.send_signal(signal.SIGINT)
        engine.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
