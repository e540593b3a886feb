"""Zarinpal and Zibal on loopback: HTTP servers with a book of their own, that answer as the documentation says.

`faults` are used up in order, one a call: what goes wrong with the next answers. Only `pay` makes a payment paid.
"""

import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import uuid4

from tests.stand_in import StandIn

NUMBERS = itertools.count(int(uuid4()) % 10**9 * 10**6)  # references never repeat, not even over two runs
CARD = "610433******5678"

Answer = tuple[int, Any]


@dataclass
class Payment:
    """`state`: open, paid, failed (cancelled or the time is over). Only what is verified is the shop's money."""

    authority: str
    amount_rial: int
    callback_url: str
    request: dict[str, Any]
    state: str = "open"
    is_verified: bool = False
    ref_id: int = field(default_factory=lambda: next(NUMBERS))


class Provider(StandIn):
    """What both have in common. `calls` are the names and bodies of what was asked."""

    merchant = ""

    def __init__(self) -> None:
        self.book: dict[str, Payment] = {}
        self.faults: list[str] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.before_answer: Callable[[str], None] = lambda call: None
        self._lock = threading.Lock()
        super().__init__()

    def pay(self, authority: str) -> bool:
        return self._move(authority, "paid")

    def fail(self, authority: str) -> bool:
        return self._move(authority, "failed")

    def callback(self, authority: str) -> dict[str, str]:
        """What the payer's browser brings along."""
        raise NotImplementedError

    def answer(self, call: str, body: dict[str, Any]) -> Answer:
        raise NotImplementedError

    def _move(self, authority: str, state: str) -> bool:
        payment = self.book[authority]
        if payment.state == "open":
            payment.state = state
        return payment.state == state

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        fields = json.loads(body)
        call = handler.path.rpartition("/")[2].removesuffix(".json")
        with self._lock:
            fault = self.faults.pop(0) if self.faults else ""
            self.calls.append((call, fields))
            if fault == "lost request":
                return
            status, reply = self.answer(call, fields)
        self.before_answer(call)
        if fault == "lost reply":
            return  # it has been done, and nobody is told
        if fault == "hangs":
            self.released.wait(30)
            return
        data = json.dumps(reply).encode()
        match fault:
            case "HTML":
                data = b"<html><body>Please wait.</body></html>"
            case "cut":
                data = data[:-5]
            case "a list":
                data = b"[]"
            case "endless":
                data = b" " * 300_000 + data
            case "500" | "502":
                status = int(fault)
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        with contextlib.suppress(ConnectionError):  # the client may have had enough
            handler.wfile.write(data)

    def show(self, handler: BaseHTTPRequestHandler) -> None:
        """The payment page: one link pays and one does not, and both lead back to the shop."""
        address, _mark, choice = handler.path.partition("?")
        authority = address.rpartition("/")[2]
        payment = self.book[authority]
        if choice:
            (self.pay if choice == "pay" else self.fail)(authority)
            query = "&".join(f"{name}={value}" for name, value in self.callback(authority).items())
            handler.send_response(302)
            handler.send_header("location", f"{payment.callback_url}?{query}")
            handler.end_headers()
            return
        page = '<title>Bank</title><a id="pay" href="?pay">pay</a> <a id="cancel" href="?cancel">cancel</a>'
        handler.send_response(200)
        handler.send_header("content-type", "text/html")
        handler.end_headers()
        handler.wfile.write(page.encode())


class Zarinpal(Provider):
    merchant = "9f8b7c6d-1234-4abc-8def-0123456789ab"
    # What a refusal carries beside `errors`, and what a success carries as `errors`: both were seen.
    errors_as_list = False

    def callback(self, authority: str) -> dict[str, str]:
        return {"Authority": authority, "Status": "OK" if self.book[authority].state == "paid" else "NOK"}

    def answer(self, call: str, body: dict[str, Any]) -> Answer:
        if body.get("merchant_id") != self.merchant:
            return self._refusal(-10, 401)
        if call == "request":
            assert (body["currency"], body["metadata"]["auto_verify"]) == ("IRR", False)
            authority = "A" + f"{next(NUMBERS):035d}"
            self.book[authority] = Payment(authority, body["amount"], body["callback_url"], body)
            return self._success(
                code=100, message="Success", authority=authority, fee_type="Merchant", fee=500
            )
        if call == "unVerified":
            found = [p for p in self.book.values() if p.state == "paid" and not p.is_verified]
            listed = [
                {
                    "authority": p.authority,
                    "amount": p.amount_rial,
                    "callback_url": p.callback_url,
                    "date": "now",
                }
                for p in found[-100:]
            ]
            return self._success(code=100, message="Success", authorities=listed)
        payment = self.book.get(body["authority"])
        if payment is None:
            return self._refusal(-54)
        if call == "inquiry":
            status = {"open": "IN_BANK", "failed": "FAILED", "paid": "PAID"}[payment.state]
            return self._success(
                code=100, message="Success", status="VERIFIED" if payment.is_verified else status
            )
        assert call == "verify"
        if payment.state != "paid":
            return self._refusal(-51)
        if payment.amount_rial != body["amount"]:
            return self._refusal(-50)
        code, payment.is_verified = 101 if payment.is_verified else 100, True
        return self._success(
            code=code, message="Paid", card_hash="0F" * 32, card_pan=CARD, ref_id=payment.ref_id, fee=500
        )

    def _success(self, **data: Any) -> Answer:
        return 200, {"data": data, "errors": []}

    def _refusal(self, code: int, status: int = 422) -> Answer:
        error = {"code": code, "message": "…", "validations": []}
        return status, {"data": [], "errors": [error] if self.errors_as_list else error}


class Zibal(Provider):
    merchant = "zibal"

    def callback(self, authority: str) -> dict[str, str]:
        payment = self.book[authority]
        is_paid = payment.state == "paid"
        return {
            "success": str(int(is_paid)),
            "trackId": authority,
            "orderId": str(payment.request["orderId"]),
            "status": "2" if is_paid else "3",
        }

    def answer(self, call: str, body: dict[str, Any]) -> Answer:
        if body.get("merchant") != self.merchant:
            return 200, {"result": 102, "message": "merchant not found"}
        if call == "request":
            if body["amount"] < 1_000:
                return 200, {"result": 105, "message": "amount"}
            track_id = next(NUMBERS)
            self.book[str(track_id)] = Payment(str(track_id), body["amount"], body["callbackUrl"], body)
            return 200, {"trackId": track_id, "result": 100, "message": "success"}
        payment = self.book.get(str(body["trackId"]))
        if payment is None:
            return 200, {"result": 203, "message": "invalid trackId"}
        details: dict[str, Any] = {"amount": payment.amount_rial, "orderId": payment.request["orderId"]}
        if payment.state == "paid":
            details |= {
                "refNumber": payment.ref_id,
                "cardNumber": CARD,
                "paidAt": "2026-11-23T08:14:00.000000",
            }
        if call == "inquiry":
            status = {"open": -1, "failed": 3, "paid": 2}[payment.state]
            return 200, {"result": 100, "status": 1 if payment.is_verified else status, "wage": 500} | details
        assert call == "verify"
        if payment.state != "paid":
            return 200, {"result": 202, "message": "not paid"}
        if payment.is_verified:
            return 200, {"result": 201, "message": "verified before"}
        payment.is_verified = True
        return 200, {"result": 100, "status": 1, "message": "success"} | details


@contextlib.contextmanager
def running(kind: type[Provider]) -> Iterator[Provider]:
    provider = kind()
    try:
        yield provider
    finally:
        provider.close()
