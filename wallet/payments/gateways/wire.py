"""What the adapters of real gateways make of a call's outcome, and of the values in an answer."""

import re
from typing import Any

from accounts.shared import provider_call
from accounts.shared.provider_call import CallFailed
from wallet.payments.gateways.interface import GatewayError


def post(url: str, body: dict[str, Any]) -> dict[str, Any] | GatewayError:
    """The JSON object that the gateway answers with, whatever the status below 500 (refusals come as 4xx)."""
    answer = provider_call.post(url, json=body)
    return GatewayError(answer.reason) if isinstance(answer, CallFailed) else answer


def whole(value: object) -> int | None:
    """A whole number that came as a number or as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) else None


def reference(value: object) -> str | None:
    """A payment's reference as text; None where the gateway gave none (0 is none, too)."""
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text if re.fullmatch(r"[0-9A-Za-z_-]{1,64}", text) and text.strip("0") else None


def local_mobile(mobile: str) -> str:
    """+989121234567 as gateways want it: 09121234567."""
    return "0" + mobile.removeprefix("+98")
