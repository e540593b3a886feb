"""Log lines are JSON, and no key gets into one."""

import json
import logging
import sys

from config.logging import JSONFormatter

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
