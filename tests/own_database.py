"""A new database beside the tests' own: for what migrates one, or needs all that is in it to be its own."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from django.db import connection

from tests.live import ROOT


@dataclass(frozen=True)
class OwnDatabase:
    url: str

    def manage(self, *command: str) -> str:
        """What `manage.py` says; it has to succeed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env={**os.environ, "DATABASE_URL": self.url},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def own_database() -> Iterator[OwnDatabase]:
    """Empty, on the server of the tests' database."""
    settings, name = connection.settings_dict, f"own_{secrets.token_hex(4)}"
    url = f"postgresql://{settings['USER']}@/{{}}?host={settings['HOST']}"
    with psycopg.connect(url.format("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield OwnDatabase(url.format(name))
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
