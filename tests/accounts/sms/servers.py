"""Kavenegar and SMS.ir on loopback: HTTP servers that answer as the documentation says, and keep what they sent.

`refusal` is a status that every call is answered with; `fault` is what goes wrong with every answer.
"""

import contextlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.stand_in import StandIn

Answer = tuple[int, dict[str, Any]]


class Provider(StandIn):
    """`sent` are receptor and what it got, `calls` the names and fields of what was asked."""

    key = ""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusal: int | None = None
        self.fault = ""
        super().__init__()

    def answer(self, handler: BaseHTTPRequestHandler, body: str) -> Answer:
        raise NotImplementedError

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        status, reply = self.answer(handler, body.decode())
        data = json.dumps(reply).encode()
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
            case "status is true":
                data = b'{"status": true, "return": {"status": true}}'
            case "endless":
                data = b" " * 100_000 + data
            case "500" | "502":
                status = int(self.fault)
            case "redirect":
                status = 302
                data = b""
                handler.path = "/elsewhere"
        handler.send_response(status)
        handler.send_header("content-type", "application/json; charset=utf-8")
        handler.send_header("content-length", str(len(data)))
        if self.fault == "redirect":
            handler.send_header("location", f"{self.url}/elsewhere")
        handler.end_headers()
        with contextlib.suppress(ConnectionError):  # the client may have had enough
            handler.wfile.write(data)


class Kavenegar(Provider):
    key = "6B657920/6F66206B617665+secret"  # has to be quoted in a path

    def answer(self, handler: BaseHTTPRequestHandler, body: str) -> Answer:
        assert handler.headers["content-type"] == "application/x-www-form-urlencoded"
        _empty, version, key, *call = handler.path.split("/")
        form = {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}
        self.calls.append(("/".join(call), form))
        assert version == "v1"
        if unquote(key) != self.key:
            return self._reply(403)
        if self.refusal:
            return self._reply(self.refusal)
        match call:
            case ["verify", "lookup.json"] if set(form) == {"receptor", "template", "token"}:
                message = form["token"]
            case ["sms", "send.json"] if (
                {"receptor", "message"} <= set(form) <= {"receptor", "message", "sender"}
            ):
                message = form["message"]
            case _:
                return self._reply(400)
        self.sent.append((form["receptor"], message))
        return self._reply(
            200, [{"messageid": 8792343, "message": message, "status": 5, "receptor": form["receptor"]}]
        )

    def _reply(self, status: int, entries: list[dict[str, Any]] | None = None) -> Answer:
        # The message repeats what should not get into a log.
        message = "تایید شد" if status == 200 else f"refused: {self.key} {self.calls[-1]}"
        return status, {"return": {"status": status, "message": message}, "entries": entries}


class SMSIr(Provider):
    key = "IrSecretKey0123456789"
    is_on_black_list = False

    def answer(self, handler: BaseHTTPRequestHandler, body: str) -> Answer:
        fields = json.loads(body)
        self.calls.append((handler.path, fields))
        if handler.headers["x-api-key"] != self.key:
            return 401, {"status": 10, "message": f"refused: {self.key}", "data": None}
        if self.refusal is not None:
            return 400, {"status": self.refusal, "message": f"refused: {self.key} {fields}", "data": None}
        match handler.path:
            case "/v1/send/verify":
                assert set(fields) == {"mobile", "templateId", "parameters"}
                [parameter] = fields["parameters"]
                assert parameter["name"] == "Code"
                self.sent.append((fields["mobile"], parameter["value"]))
                return 200, {"status": 1, "message": "موفق", "data": {"messageId": 89545112, "cost": 1.0}}
            case "/v1/send/bulk":
                assert set(fields) == {"lineNumber", "messageText", "mobiles"}
                [mobile] = fields["mobiles"]
                if not self.is_on_black_list:
                    self.sent.append((mobile, fields["messageText"]))
                ids = [0 if self.is_on_black_list else 86522023]
                return 200, {
                    "status": 1,
                    "message": "موفق",
                    "data": {"packId": "2b99", "messageIds": ids, "cost": 2.0},
                }
        return 404, {"status": 0, "message": "", "data": None}


@contextlib.contextmanager
def running(kind: type[Provider]) -> Iterator[Provider]:
    provider = kind()
    try:
        yield provider
    finally:
        provider.close()
