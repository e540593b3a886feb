"""The Bot API of Telegram (https://core.telegram.org/bots/api), which Bale's (https://docs.bale.ai) follows.

The token is part of every address, so no address may get into a log or an error. Where Bale differs: its errors have
words of their own, and its front answers who asks too often with 429 and no JSON. After the documentation; what live
bots answer has not been tried.
"""

from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import quote

from accounts.shared import provider_call
from accounts.shared.channel import (
    KeyRefused,
    NeedsOperator,
    NoAnswer,
    RecipientRefused,
    SendError,
    TooFast,
    Unreachable,
)
from accounts.shared.provider_call import CallFailed

BATCH = 20  # updates at once
BATCH_MAX_BYTES = 4 * 1024 * 1024  # so many of the longest messages fit in
RETRY_AFTER_SECONDS = 5  # where it is not said
RETRY_AFTER_MAX_SECONDS = 3600
ID_MAX = 2**63 - 1  # what the database holds
NO_SUCH_CHAT = ("chat not found", "no such group or user", "user is deactivated", "user not found")
TOO_FAST = ("too many requests", "bot limit exceed", "local_rate_limited")


class Conflict(NeedsOperator):
    """Somebody else reads what people write to the bot: a webhook that is set, or another installation."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a person wrote to the bot, in a chat of their own; `text` is empty for anything else."""

    update_id: int
    chat_id: int
    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Bot:
    """`proxy` is the address of an HTTP proxy, or empty."""

    base_url: str
    token: str = field(repr=False)
    proxy: str = field(default="", repr=False)

    def send_text(self, *, to: str, text: str) -> None:
        """`to` is a chat's id. Raises SendError."""
        self._call("sendMessage", chat_id=int(to), text=text)

    def username(self) -> str:
        """The bot's name in links, which tells that the token is good. Raises SendError."""
        found = self._call("getMe")
        username = found.get("username") if isinstance(found, dict) else None
        if not isinstance(username, str) or not username:
            raise NoAnswer("the bot has no name")
        return username

    def updates(self, *, offset: int, wait_seconds: int) -> list[Update]:
        """What has been written from `offset` on, which confirms all before; waits for it. Raises SendError."""
        found = self._call(
            "getUpdates",
            wait_seconds=wait_seconds,
            offset=offset,
            limit=BATCH,
            timeout=wait_seconds,
            allowed_updates=["message"],
        )
        if not isinstance(found, list):
            raise NoAnswer("the updates are no list")
        return [update for each in found if (update := _read(each)) is not None]

    def _call(self, method: str, *, wait_seconds: int = 0, **fields: Any) -> Any:
        answer = provider_call.post(
            f"{self.base_url}/bot{quote(self.token, safe=':')}/{method}",
            json=fields,
            proxy=self.proxy,
            wait_seconds=wait_seconds,
            reply_max_bytes=BATCH_MAX_BYTES,
        )
        if isinstance(answer, CallFailed):
            if answer.status == 429:
                raise TooFast(answer.reason, retry_after_seconds=RETRY_AFTER_SECONDS)
            raise (NoAnswer if answer.was_asked else Unreachable)(answer.reason)
        if answer.get("ok") is True and "result" in answer:
            return answer["result"]
        if answer.get("ok") is not False:
            raise NoAnswer("the answer does not say whether it was done")
        raise _refusal(answer)


def _refusal(answer: dict[str, Any]) -> SendError:
    code, said = answer.get("error_code"), str(answer.get("description", "")).lower()
    reason = f"the error code is {code}" if type(code) is int else "there is no error code"
    if code == 429 or any(words in said for words in TOO_FAST):
        return TooFast(reason, retry_after_seconds=_retry_after(answer.get("parameters")))
    if any(words in said for words in NO_SUCH_CHAT):
        return RecipientRefused(reason)
    if code in {401, 404} or "token not found" in said:
        return KeyRefused(reason)
    if code == 403:
        return RecipientRefused(reason)
    if code == 409:
        return Conflict(reason)
    return SendError(reason)


def _retry_after(parameters: object) -> int:
    seconds = parameters.get("retry_after") if isinstance(parameters, dict) else None
    return (
        min(seconds, RETRY_AFTER_MAX_SECONDS) if type(seconds) is int and seconds > 0 else RETRY_AFTER_SECONDS
    )


def _read(each: object) -> Update | None:
    """None: not even an update. Groups and what is no text count as read, with nothing in them."""
    update_id = each.get("update_id") if isinstance(each, dict) else None
    if type(update_id) is not int or not 0 <= update_id < ID_MAX:
        return None
    message = _object(each, "message")
    chat, sender = _object(message, "chat"), _object(message, "from")
    chat_id, text, language = chat.get("id"), message.get("text"), sender.get("language_code")
    if chat.get("type") != "private" or not _is_id(chat_id) or not isinstance(text, str):
        chat_id, text = 0, ""
    return Update(
        update_id=update_id,
        chat_id=chat_id,
        text=text,
        language=language if isinstance(language, str) else "",
    )


def _is_id(chat_id: object) -> TypeGuard[int]:
    return type(chat_id) is int and abs(chat_id) < ID_MAX


def _object(found: Any, name: str) -> dict[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else {}
