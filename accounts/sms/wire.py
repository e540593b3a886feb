"""What the adapters of SMS providers make of a call's outcome: an answer, or an error that knows no secret."""

from collections.abc import Mapping
from typing import Any

from accounts.shared import provider_call
from accounts.shared.channel import NoAnswer, SendError, Unreachable
from accounts.shared.provider_call import CallFailed


def post(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    json: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the provider answers, whatever the HTTP status below 500 (refusals come as 4xx).

    Raises Unreachable, NoAnswer.
    """
    answer = provider_call.post(url, data=form, json=json, headers=headers)
    if isinstance(answer, CallFailed):
        raise (NoAnswer if answer.was_asked else Unreachable)(answer.reason)
    return answer


def status(value: object, refusals: Mapping[int, type[SendError]], *, success: int) -> None:
    """Raises SendError unless `value`, the status that the provider reports, is `success`."""
    number = value if type(value) is int else None  # `True == 1`
    if number == success:
        return
    if number is None:
        raise NoAnswer("the answer has no status")
    raise refusals.get(number, SendError)(f"the provider's status is {number}")
