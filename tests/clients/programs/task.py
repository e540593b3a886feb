"""What each program is given and has to find: a text whole and streamed, a tool's answer, an object of a schema."""

import json
import os

from pydantic import BaseModel

MODEL, ROOT, KEY, KIND = (os.environ[name] for name in ("MODEL", "ROOT", "KEY", "KIND"))
V1 = f"{ROOT}/v1"
LOOK_TAKES = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}

found = {}


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def look(at: str) -> str:
    """Looks there."""
    found["seen"] = at
    return "blue"


def tell():
    print(json.dumps(found))
