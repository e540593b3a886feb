"""Structured logs on standard error, one JSON object per line, with secrets taken out."""

import contextlib
import json
import logging
import logging.config
import re
import select
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import orjson

SECRET = re.compile(r"hm-(?:admin-)?[0-9A-Za-z]{8,}")
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

REQUESTS = "hamiran.requests"  # one line a request
GATHER_SECONDS = 0.1
MAX_LINES = 10_000  # that wait; beyond it whoever logs writes, and is as slow as the terminal


class JSONFormatter(logging.Formatter):
    """`logger.info("completion", extra={"tokens": 3})` becomes one line with time, level, logger, message, tokens."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {key: value for key, value in vars(record).items() if key not in STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _line(record.created, record.levelname, record.name, record.getMessage(), fields)


def _line(at: float, level: str, logger: str, message: str, fields: Mapping[str, Any]) -> str:
    seconds, milliseconds = divmod(int(at * 1000), 1000)
    time_of = f"{_second(seconds)}.{milliseconds:03}+00:00"
    line = {"time": time_of, "level": level, "logger": logger, "message": message, **fields}
    return without_secrets(_json(line))


def without_secrets(text: str) -> str:
    return SECRET.sub("hm-…", text)


@lru_cache(maxsize=1)  # of some thousand lines per second: making it costs more than the rest of a line
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate from a client, say: a line that is not written hides what went wrong
        return json.dumps(line, default=str, skipkeys=True)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes each line at once, or, once it gathers them, ten times a second; then, too, a warning waits for nothing.

    What was gathered is also written when the process ends in order, since `logging` flushes its handlers then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_gathering = False
        self._lines: deque[str] = deque()
        self._is_filled = threading.Event()
        self._writing = threading.RLock()  # a finalizer can log in the middle of it

    def gather(self) -> None:
        if not self._is_gathering:
            self._is_gathering = True
            threading.Thread(target=self._write_for_ever, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_gathering:
            super().emit(record)
            return
        try:
            self.add(self.format(record))
        except Exception:  # as StreamHandler does: nobody fails for a line
            self.handleError(record)
        if record.levelno >= logging.WARNING:
            self.flush()

    def add(self, line: str) -> None:
        self._lines.append(line + self.terminator)
        if len(self._lines) >= MAX_LINES:
            self.flush()
        elif not self._is_filled.is_set():
            self._is_filled.set()

    def flush(self) -> None:
        # Not under the handler's own lock, which whoever logs has: they would wait for a slow terminal.
        with self._writing, contextlib.suppress(OSError, ValueError):  # a full disk, a closed stream
            while self._lines:
                self.stream.write(self._piece())
                self.stream.flush()

    def _piece(self) -> str:
        """The next lines, so many that a pipe, which several processes may share, takes them in one piece."""
        piece: list[str] = []
        size = 0
        while self._lines:
            size += len(self._lines[0].encode())
            if piece and size > select.PIPE_BUF:
                break
            piece.append(self._lines.popleft())
        return "".join(piece)

    def _write_for_ever(self) -> None:
        while self._is_filled.wait():
            time.sleep(GATHER_SECONDS)
            self._is_filled.clear()
            self.flush()


class RequestLogger(logging.Logger):
    """What each request is told of by: once lines are gathered, past the records of `logging`, which cost the most."""

    lines: LineHandler | None = None

    def info(self, msg: object, *args: object, **options: Any) -> None:
        if self.lines is not None and not args and options.keys() == {"extra"}:
            if self.isEnabledFor(logging.INFO):
                with contextlib.suppress(Exception):  # what cannot be written must fail nobody
                    self.lines.add(_line(time.time(), "INFO", self.name, str(msg), options["extra"]))
            return
        super().info(msg, *args, **options)


def gather_lines() -> None:
    """From here on lines may wait for GATHER_SECONDS: for a process that a signal ends in order."""
    requests = logging.getLogger(REQUESTS)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.gather()
            if isinstance(requests, RequestLogger):
                requests.lines = handler


def configure(options: dict[str, Any]) -> None:
    level = options.get("level", "INFO")
    logging.setLoggerClass(RequestLogger)
    logging.getLogger(REQUESTS)
    logging.setLoggerClass(logging.Logger)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JSONFormatter}},
            "handlers": {"stderr": {"()": LineHandler, "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {
                # They log whole URLs, and a provider's key can stand in one.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "fontTools": {"level": "WARNING"},  # ten lines on each cut of the font
                # Two or three lines for each task of each few seconds; what failed is an error.
                "celery.beat": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
                # It brought handlers of its own, which write plain text and take no secrets out.
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
            },
        }
    )
