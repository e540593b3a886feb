"""What the doctor finds of a part."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part; `advice` is empty where all is well."""

    part: str
    level: Level
    said: str
    advice: str = ""


Found = Iterator[tuple[Level, str, str]]  # of one part: the level, what is so, what to do about it


def ok(said: str) -> tuple[Level, str, str]:
    return Level.OK, said, ""
