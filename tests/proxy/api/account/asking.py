"""How tests read an account."""

import json
import uuid
from decimal import Decimal
from typing import Any

import httpx

from tests.proxy.api.conftest import (
    INPUT_PRICE,
    OUTPUT_PRICE,
    Caller,
)

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
PATHS = ("/balance", "/key", "/transactions", f"/requests/{uuid.UUID(int=0)}")


def get(caller: Caller, path: str, **query: Any) -> httpx.Response:
    with caller.http as http:
        return http.get(path, params=query)


def told(caller: Caller, path: str, **query: Any) -> dict[str, Any]:
    """With numbers as they are written."""
    answer = get(caller, path, **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(answer.content, parse_float=Decimal)
    return found


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]
