"""Zarinpal's payment gateway, version 4 of its API. Amounts are in Rial, the Toman never goes over the wire.

https://www.zarinpal.com/docs/paymentGateway/ names the codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext

from wallet.money import rial_from_micro
from wallet.payments.gateways import wire
from wallet.payments.gateways.interface import (
    AUTHORITY,
    AmountDiffers,
    GatewayError,
    NotPaid,
    PaymentRequest,
    Pending,
    Started,
    Verification,
    Verified,
    masked_pan,
)

DONE = 100


@dataclass(frozen=True, slots=True)
class ZarinpalGateway:
    """`base_url` is https://payment.zarinpal.com, or the sandbox's host, which takes any UUID as merchant."""

    base_url: str
    merchant_id: str = field(repr=False)
    name: str = "zarinpal"

    @property
    def form_targets(self) -> Sequence[str]:
        # Its start page may lead on to its other hosts and to the bank's, which are all below shaparak.ir; browsers
        # hold every step of that way against the page with the form.
        address = urlsplit(self.base_url)
        return (f"{address.scheme}://{address.netloc}", "https://*.zarinpal.com", "https://*.shaparak.ir")

    def start(self, payment: PaymentRequest) -> Started | GatewayError:
        reply = self._post(
            "request",
            amount=rial_from_micro(payment.amount_micro),
            currency="IRR",
            description=gettext("Wallet top-up"),
            callback_url=payment.callback_url,
            metadata={
                "mobile": wire.local_mobile(payment.mobile),
                "order_id": str(payment.topup_id),
                "auto_verify": False,  # a payment that we did not ask for has to go back to its payer
            },
        )
        if isinstance(reply, GatewayError):
            return reply
        authority = _data(reply).get("authority")
        if _code(reply) != DONE or not isinstance(authority, str) or not AUTHORITY.fullmatch(authority):
            return GatewayError(f"request: code {_code(reply)}")
        return Started(authority=authority, redirect_url=f"{self.base_url}/pg/StartPay/{authority}")

    def verify(self, *, authority: str, amount_micro: int) -> Verification:
        reply = self._post("verify", authority=authority, amount=rial_from_micro(amount_micro))
        if isinstance(reply, GatewayError):
            return reply
        match _code(reply):
            case 100 | 101 as code:
                data = _data(reply)
                return Verified(
                    ref_id=wire.reference(data.get("ref_id")) or authority,
                    is_repeated=code != DONE,
                    card_pan=masked_pan(data.get("card_pan")),
                )
            case -50:
                return AmountDiffers("verify: code -50")
            case -51:
                return self._unpaid(authority)
            case code:
                return GatewayError(f"verify: code {code}")

    def _unpaid(self, authority: str) -> NotPaid | Pending | GatewayError:
        """-51 means a failed payment, or a payer who is still at the bank: ask which it is."""
        reply = self._post("inquiry", authority=authority)
        if isinstance(reply, GatewayError):
            return reply
        if _code(reply) != DONE:
            return NotPaid()  # it knows nothing more, so its first word stands
        match _data(reply).get("status"):
            case "IN_BANK":
                return Pending()
            case "PAID" | "VERIFIED" as status:
                return GatewayError(f"verify: code -51, inquiry: {status}")  # paid between the two questions
            case _:
                return NotPaid()

    def unverified(self) -> Sequence[str] | GatewayError:
        reply = self._post("unVerified")
        if isinstance(reply, GatewayError):
            return reply
        if _code(reply) != DONE:
            return GatewayError(f"unVerified: code {_code(reply)}")
        listed = _data(reply).get("authorities")
        found = [item.get("authority") for item in listed or () if isinstance(item, dict)]
        return [authority for authority in found if isinstance(authority, str)]

    def returned_authority(self, query: Mapping[str, str]) -> str | None:
        return query.get("Authority")

    def _post(self, call: str, **fields: Any) -> dict[str, Any] | GatewayError:
        url = f"{self.base_url}/pg/v4/payment/{call}.json"
        return wire.post(url, {"merchant_id": self.merchant_id, **fields})


def _data(reply: dict[str, Any]) -> dict[str, Any]:
    """`data` is an object when all went well, and an empty list when not."""
    data = reply.get("data")
    return data if isinstance(data, dict) else {}


def _code(reply: dict[str, Any]) -> int | None:
    """The code of a refusal, else of the answer. `errors` is an empty list, an object, or a list of objects."""
    errors = reply.get("errors")
    if isinstance(errors, list) and errors:
        errors = errors[0]
    if isinstance(errors, dict) and errors:
        return wire.whole(errors.get("code"))
    return wire.whole(_data(reply).get("code"))
