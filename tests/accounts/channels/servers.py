"""The Bot APIs of Telegram and Bale on loopback: they answer as the documentation says, and keep what was sent.

`refusal` is what every call is refused with, `refused` that of single chats; `fault` is what goes wrong with every
answer of `faulty` calls (of all, when empty).
"""

import contextlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.stand_in import StandIn

Refusal = tuple[int, str] | tuple[int, str, dict[str, Any]]


class BotServer(StandIn):
    """`sent` are chat ids and texts; `offsets` those that updates were asked from, `waits` for how long."""

    token = ""
    blocked: Refusal
    chat_not_found: Refusal
    wrong_token: Refusal
    too_fast: Refusal

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.offsets: list[int] = []
        self.waits: list[int] = []
        self.calls: list[str] = []
        self.paths: list[str] = []
        self.updates: list[dict[str, Any]] = []
        self.refusal: Refusal | None = None
        self.refused: dict[int, Refusal] = {}
        self.refused_calls: dict[str, Refusal] = {}
        self.fault = ""
        self.faulty: set[str] = set()
        self.forgets_offsets = False
        super().__init__()

    def write(self, chat_id: int, text: str | None, **fields: Any) -> None:
        """A person writes to the bot."""
        message = {
            "message_id": len(self.updates) + 1,
            "date": 1_795_000_000,
            "chat": {"id": chat_id, "type": "private", "first_name": "Sara"},
            "from": {"id": chat_id, "is_bot": False, "first_name": "Sara", "language_code": "fa"},
            "text": text,
        }
        self.updates.append({"update_id": 500 + len(self.updates), "message": {**message, **fields}})

    def told(self, chat_id: int) -> list[str]:
        return [text for to, text in self.sent if to == chat_id]

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        assert handler.headers["content-type"] == "application/json"
        self.paths.append(handler.path)
        bot, _slash, method = urlsplit(handler.path).path.removeprefix("/bot").partition("/")
        self.calls.append(method)
        status, reply = self._answer(bot, method, json.loads(body))
        data, kind = json.dumps(reply).encode(), "application/json"
        if not self.faulty or method in self.faulty:
            match self.fault:
                case "lost reply":
                    return
                case "hangs":
                    self.released.wait(30)
                    return
                case "HTML":
                    data = b"<html><body>Please wait.</body></html>"
                case "cut":
                    data = data[:-3]
                case "a list":
                    data = b"[]"
                case "empty":
                    data = b"{}"
                case "ok is one":
                    data = b'{"ok": 1, "result": true}'
                case "no result":
                    data = b'{"ok": true}'
                case "500" | "502":
                    status = int(self.fault)
                case "plain 429":
                    status, data, kind = 429, b"local_rate_limited", "text/plain"
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            handler.wfile.write(data)

    def _answer(self, token: str, method: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if token != self.token:
            return _refused(self.wrong_token)
        refusal = self.refusal or self.refused_calls.get(method)
        if refusal is not None:
            return _refused(refusal)
        match method:
            case "getMe":
                assert fields == {}
                return _done({"id": 1, "is_bot": True, "first_name": "Hamiran", "username": "hamiran_bot"})
            case "sendMessage":
                assert set(fields) == {"chat_id", "text"}
                if fields["chat_id"] in self.refused:
                    return _refused(self.refused[fields["chat_id"]])
                self.sent.append((fields["chat_id"], fields["text"]))
                return _done({"message_id": len(self.sent), "text": fields["text"]})
            case "getUpdates":
                self.offsets.append(fields["offset"])
                self.waits.append(fields["timeout"])
                return _done(
                    [
                        each
                        for each in self.updates
                        if self.forgets_offsets or int(each["update_id"]) >= fields["offset"]
                    ][: fields["limit"]]
                )
        return _refused((404, "Not Found"))


class Telegram(BotServer):
    token = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
    blocked = (403, "Forbidden: bot was blocked by the user")
    chat_not_found = (400, "Bad Request: chat not found")
    wrong_token = (401, "Unauthorized")
    too_fast = (429, "Too Many Requests: retry after 31", {"retry_after": 31})


class Bale(BotServer):
    token = "361743011:hmO4DP2Ic7xw2QRYLhCMCmbai9KVhBmrRnKhFOA1"
    blocked = (403, "Forbidden: permission_denied")
    chat_not_found = (404, "no such group or user")
    wrong_token = (403, "Bad Request: Token not found")
    too_fast = (400, "bot limit exceed")


def _done(result: object) -> tuple[int, dict[str, Any]]:
    return 200, {"ok": True, "result": result}


def _refused(refusal: Refusal) -> tuple[int, dict[str, Any]]:
    code, description, *parameters = refusal
    reply = {"ok": False, "error_code": code, "description": description}
    return code, {**reply, "parameters": parameters[0]} if parameters else reply


@contextlib.contextmanager
def running(kind: type[BotServer]) -> Iterator[BotServer]:
    server = kind()
    try:
        yield server
    finally:
        server.close()
