"""Structured logs on standard error, one JSON object per line, with secrets taken out."""

import json
import logging
import logging.config
import re
from datetime import UTC, datetime
from typing import Any

import orjson

SECRET = re.compile(r"hm-[0-9A-Za-z]{8,}")
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JSONFormatter(logging.Formatter):
    """`logger.info("completion", extra={"tokens": 3})` becomes one line with time, level, logger, message, tokens."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return SECRET.sub("hm-…", _json(line))


def _json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate from a client, say: a line that is not written hides what went wrong
        return json.dumps(line, default=str, skipkeys=True)


def configure(options: dict[str, Any]) -> None:
    level = options.get("level", "INFO")
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JSONFormatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {
                # They log whole URLs, and a provider's key can stand in one.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "fontTools": {"level": "WARNING"},  # ten lines on each cut of the font
                # It brought handlers of its own, which write plain text and take no secrets out.
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
            },
        }
    )
