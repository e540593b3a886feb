"""`make dev`: changed templates and code are seen while it runs, and what is logged can be read on the terminal."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured

from config.development import FOLDERS, readable
from tests.config.processes import eventually
from tests.live import ROOT, free_port

pytestmark = [pytest.mark.timeout(600), pytest.mark.proof]

SLOW_SECONDS = 150  # it starts processes, beside whatever else a machine does


@dataclass
class Development:
    """A copy of the project that runs, and what it has printed so far."""

    root: Path
    url: str
    printed: list[str]

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def said(self, text: str, *, times: int = 1) -> bool:
        return sum(text in line for line in self.printed) >= times


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    root, port = tmp_path_factory.mktemp("copy"), free_port()
    for name in (*FOLDERS, "templates"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", root)
    env = {
        "PATH": os.environ["PATH"], "HAMIRAN_VAR": str(tmp_path_factory.mktemp("var")), "PORT": str(port),
        "DJANGO_SETTINGS_MODULE": "config.settings_development",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "manage.py", "serve"], cwd=root, env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    development = Development(root, f"http://127.0.0.1:{port}", [])
    assert process.stdout is not None
    reader = threading.Thread(target=development.printed.extend, args=[process.stdout])
    reader.start()
    with process:
        try:
            eventually(
                lambda: development.said("Ctrl-C stops everything") or process.poll() is not None,
                seconds=SLOW_SECONDS,
            )
            assert process.poll() is None, "".join(development.printed)
            yield development
        finally:
            process.terminate()
            process.wait(60)
            reader.join()


def front(running: Development) -> httpx.Response:
    return httpx.get(running.url, timeout=20)


def test_a_changed_template_is_seen_by_the_next_page(running: Development) -> None:
    assert front(running).status_code == 200
    running.edit("templates/front.html", "{% block content %}", "{% block content %}<!-- rewritten -->")
    assert "<!-- rewritten -->" in front(running).text


def test_a_changed_style_is_seen_by_the_next_page(running: Development) -> None:
    running.edit("config/static/front.css", "/* The front page. */", "/* rewritten */")
    assert "/static/front.css" in front(running).text
    assert httpx.get(f"{running.url}/static/front.css", timeout=20).text.startswith("/* rewritten */")


def test_changed_code_is_brought_into_service(running: Development) -> None:
    running.edit("config/pages/front.py", '"private, no-cache"', '"private, no-store"')
    eventually(lambda: front(running).headers["Cache-Control"] == "private, no-store", seconds=SLOW_SECONDS)
    eventually(lambda: running.said("Reloaded in"), seconds=SLOW_SECONDS)
    assert running.said("Changed: config/pages/front.py")
    assert not running.said("Tables ", times=2)  # no migration came


def test_broken_code_is_not_and_the_service_goes_on_until_it_is_mended(running: Development) -> None:
    running.edit("config/asgi.py", "from config import forwarded", "from config import no_such_module")
    eventually(lambda: running.said("Not reloaded."), seconds=SLOW_SECONDS)
    assert front(running).status_code == 200
    reloads = sum("Reloaded in" in line for line in running.printed)
    running.edit("config/asgi.py", "import no_such_module", "import forwarded")
    eventually(lambda: running.said("Reloaded in", times=reloads + 1), seconds=SLOW_SECONDS)


def test_what_is_logged_is_shown_for_people(running: Development) -> None:
    [key] = [line.split()[-1] for line in running.printed if line.startswith("Demo key:")]
    body = {"model": "gemini-3.1-flash-lite-preview", "messages": [{"role": "user", "content": "Hello!"}]}
    answer = httpx.post(
        f"{running.url}/v1/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 200
    request_id = answer.headers["x-request-id"]
    eventually(lambda: running.said(f"web INFO completion request={request_id}"))


def test_a_logged_line_becomes_words_and_its_traceback_stands_below() -> None:
    line = {
        "time": "2026-11-29T12:00:00.123+00:00", "level": "ERROR", "logger": "proxy", "message": "it failed",
        "request": "7", "reason": "", "exception": "Traceback\n  ValueError",
    }  # fmt: skip
    shown = readable(json.dumps(line).encode(), name="web")
    assert shown.partition(" ")[2] == "web ERROR it failed request=7\nTraceback\n  ValueError"


@pytest.mark.parametrize("line", [b"not JSON", b"[1]", b'{"time": 7}', b'{"level": "INFO"}', b"\xff"])
def test_a_line_of_another_kind_is_shown_as_it_is(line: bytes) -> None:
    assert readable(line, name="web") == f"web {line.decode(errors='replace')}"


def test_it_is_refused_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.settings.SANDBOX", False)
    monkeypatch.delitem(sys.modules, "config.settings_development", raising=False)
    with pytest.raises(ImproperlyConfigured, match="for the sandbox"):
        __import__("config.settings_development")
