"""Log lines are JSON, no key gets into one, and those that are gathered are written in order and in time."""

import io
import json
import logging
import select
import subprocess
import sys

import pytest

from config import logging as our_logging
from config.logging import JSONFormatter, LineHandler, RequestLogger
from tests.live import ROOT, eventually

KEY = "hm-0123456789abcdefghijABCDEFGHIJ012345"


def line(message: str, *args: object, exc_info: bool = False, **extra: object) -> str:
    record = logging.LogRecord(
        "proxy", logging.INFO, "file", 1, message, args, sys.exc_info() if exc_info else None
    )
    record.__dict__.update(extra)
    return JSONFormatter().format(record)


def test_a_line_is_one_json_object_with_what_was_given_beside_the_message() -> None:
    text = line("completion of %s", "m", tokens=3, cost=None)
    seen = json.loads(text)
    assert "\n" not in text
    assert (seen["message"], seen["level"], seen["logger"]) == ("completion of m", "INFO", "proxy")
    assert (seen["tokens"], seen["cost"]) == (3, None)
    assert seen["time"].endswith("+00:00")


def test_a_key_is_taken_out_of_message_arguments_extras_and_tracebacks() -> None:
    try:
        int(f"bad {KEY}")
    except ValueError:
        text = line("%s", f"Bearer {KEY}", exc_info=True, header={"authorization": [KEY]})
    assert KEY[3:] not in text
    assert text.count("hm-…") >= 3
    assert "ValueError" in json.loads(text)["exception"]


def test_what_json_does_not_know_is_written_all_the_same() -> None:
    seen = json.loads(line("x", what=ValueError("odd"), counts={1: 2}))
    assert seen["what"] == "odd"
    assert seen["counts"] == {"1": 2}


def test_text_that_is_not_valid_unicode_is_written_all_the_same() -> None:
    assert json.loads(line("a \ud800 b", key=KEY))["key"] == "hm-…"


class Terminal(io.StringIO):
    """Keeps what it is given piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)

    @property
    def messages(self) -> list[str]:
        return [json.loads(text)["message"] for text in self.getvalue().splitlines()]


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.fixture
def handler(terminal: Terminal) -> LineHandler:
    made = LineHandler()
    made.setStream(terminal)
    made.setFormatter(JSONFormatter())
    return made


@pytest.fixture
def gathering(handler: LineHandler, monkeypatch: pytest.MonkeyPatch) -> LineHandler:
    """Writes only when it is made to."""
    monkeypatch.setattr(our_logging, "GATHER_SECONDS", 3600)
    handler.gather()
    return handler


@pytest.fixture
def log(handler: LineHandler) -> RequestLogger:
    made = RequestLogger("hamiran.requests")
    made.addHandler(handler)
    return made


def test_a_line_is_written_at_once_where_none_are_gathered(log: RequestLogger, terminal: Terminal) -> None:
    log.info("a", extra={"n": 1})
    assert terminal.messages == ["a"]


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR, logging.CRITICAL])
def test_what_is_bad_is_written_at_once_after_all_that_came_before_it(
    log: RequestLogger, gathering: LineHandler, terminal: Terminal, level: int
) -> None:
    log.lines = gathering
    log.info("a")
    log.info("b", extra={"n": 1})
    log.info("c %s", "d")
    assert terminal.messages == []
    log.log(level, "bad")
    assert terminal.messages == ["a", "b", "c d", "bad"]


def test_gathered_lines_are_written_by_themselves(
    log: RequestLogger, handler: LineHandler, terminal: Terminal
) -> None:
    handler.gather()
    for turn in ("a", "b"):
        log.info(turn)
        eventually(lambda turn=turn: terminal.messages[-1:] == [turn])  # type: ignore[misc]


def test_gathered_lines_leave_in_pieces_that_a_pipe_keeps_whole(
    log: RequestLogger, gathering: LineHandler, terminal: Terminal
) -> None:
    sizes = [10, 3_000, 900, 20, 9_000, 1, *range(100)]
    for size in sizes:
        log.info("é" * size)
    gathering.flush()
    assert [len(message) for message in terminal.messages] == sizes
    assert all(piece.endswith("}\n") for piece in terminal.pieces)
    assert all(len(piece.encode()) <= select.PIPE_BUF for piece in terminal.pieces if piece.count("\n") > 1)
    assert len(terminal.pieces) < len(sizes) / 2


def test_a_terminal_that_takes_nothing_does_not_fill_the_memory(
    log: RequestLogger, gathering: LineHandler, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(our_logging, "MAX_LINES", 10)
    terminal.close()
    for number in range(100):
        log.info("line %s", number)
    assert len(gathering._lines) <= 10


def test_the_line_of_a_request_is_the_one_that_any_logger_writes(
    log: RequestLogger, gathering: LineHandler, terminal: Terminal
) -> None:
    fields = {"tokens": 3, "cost": None, "header": f"Bearer {KEY}"}
    log.info("completion", extra=fields)
    log.lines = gathering
    log.info("completion", extra=fields)
    gathering.flush()
    slow, quick = (json.loads(text) for text in terminal.getvalue().splitlines())
    assert list(slow) == list(quick)
    assert {**slow, "time": ""} == {**quick, "time": ""}
    assert quick["header"] == "Bearer hm-…"


def test_a_line_below_the_level_that_was_asked_for_is_not_written(
    log: RequestLogger, gathering: LineHandler, terminal: Terminal
) -> None:
    log.lines = gathering
    log.setLevel(logging.WARNING)
    log.info("completion", extra={"tokens": 3})
    log.warning("told")
    assert terminal.messages == ["told"]


def test_a_line_that_cannot_be_made_fails_nobody(
    log: RequestLogger, gathering: LineHandler, terminal: Terminal
) -> None:
    class Odd:
        def __str__(self) -> str:
            raise LookupError

    log.lines = gathering
    log.info("odd", extra={"odd": Odd()})
    log.info("plain", extra={"n": 1})
    gathering.flush()
    assert terminal.messages == ["plain"]


@pytest.mark.slow
def test_a_process_that_fails_has_written_its_lines() -> None:
    program = """
import logging
from config.logging import configure, gather_lines
configure({})
gather_lines()
for number in range(50):
    logging.getLogger("hamiran.requests").info("completion", extra={"n": number})
    logging.getLogger("other").info("line %s", number)
raise SystemExit(3)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == 3
    seen = [json.loads(text) for text in ended.stderr.decode().splitlines()]
    assert [line.get("n", line["message"]) for line in seen] == [
        told for number in range(50) for told in (number, f"line {number}")
    ]
