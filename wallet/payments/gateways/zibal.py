"""Zibal's payment gateway. Amounts are in Rial; the merchant `zibal` is its sandbox.

https://docs.zibal.ir/IPG/API names the results (of a call) and the statuses (of a payment).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext

from wallet.money import rial_from_micro
from wallet.payments.gateways import wire
from wallet.payments.gateways.interface import (
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
PAID_AND_VERIFIED = 1


@dataclass(frozen=True, slots=True)
class ZibalGateway:
    """`base_url` is https://gateway.zibal.ir."""

    base_url: str
    merchant: str = field(repr=False)
    name: str = "zibal"

    @property
    def form_targets(self) -> Sequence[str]:
        # As with Zarinpal: every step on the way to the bank counts.
        address = urlsplit(self.base_url)
        return (f"{address.scheme}://{address.netloc}", "https://*.zibal.ir", "https://*.shaparak.ir")

    def start(self, payment: PaymentRequest) -> Started | GatewayError:
        reply = self._post(
            "request",
            amount=rial_from_micro(payment.amount_micro),
            callbackUrl=payment.callback_url,
            description=gettext("Wallet top-up"),
            orderId=str(payment.topup_id),
            mobile=wire.local_mobile(payment.mobile),
        )
        if isinstance(reply, GatewayError):
            return reply
        track_id = wire.whole(reply.get("trackId"))
        if wire.whole(reply.get("result")) != DONE or track_id is None or track_id <= 0:
            return GatewayError(f"request: result {wire.whole(reply.get('result'))}")
        return Started(authority=str(track_id), redirect_url=f"{self.base_url}/start/{track_id}")

    def verify(self, *, authority: str, amount_micro: int) -> Verification:
        reply = self._post("verify", trackId=int(authority))
        if isinstance(reply, GatewayError):
            return reply
        match wire.whole(reply.get("result")):
            case 100 if reply.get("amount") is not None:
                return _paid(reply, authority=authority, amount_micro=amount_micro, is_repeated=False)
            case 100 | 201:
                return self._verified_before(authority, amount_micro)
            case 202:
                return self._unpaid(authority)
            case result:
                return GatewayError(f"verify: result {result}")

    def _verified_before(self, authority: str, amount_micro: int) -> Verification:
        """201 tells neither amount nor reference; the inquiry does."""
        reply = self._inquiry(authority)
        if isinstance(reply, GatewayError):
            return reply
        status = wire.whole(reply.get("status"))
        if wire.whole(reply.get("result")) != DONE or status != PAID_AND_VERIFIED:
            return GatewayError(f"verified, and then inquiry: status {status}")
        return _paid(reply, authority=authority, amount_micro=amount_micro, is_repeated=True)

    def _unpaid(self, authority: str) -> NotPaid | Pending | GatewayError:
        """202 is said of a payment that failed, and of one that is still open: ask which it is."""
        reply = self._inquiry(authority)
        if isinstance(reply, GatewayError):
            return reply
        if wire.whole(reply.get("result")) != DONE:
            return NotPaid()  # it knows nothing more, so its first word stands
        match wire.whole(reply.get("status")):
            case -1:
                return Pending()
            case (-2 | 1 | 2) as status:
                return GatewayError(f"verify: result 202, inquiry: status {status}")
            case _:
                return NotPaid()

    def unverified(self) -> Sequence[str]:
        return ()  # Zibal has no such list; it gives unverified money back to the payer

    def returned_authority(self, query: Mapping[str, str]) -> str | None:
        return query.get("trackId")

    def _inquiry(self, authority: str) -> dict[str, Any] | GatewayError:
        return self._post("inquiry", trackId=int(authority))

    def _post(self, call: str, **fields: Any) -> dict[str, Any] | GatewayError:
        return wire.post(f"{self.base_url}/v1/{call}", {"merchant": self.merchant, **fields})


def _paid(
    reply: dict[str, Any], *, authority: str, amount_micro: int, is_repeated: bool
) -> Verified | AmountDiffers:
    amount_rial = wire.whole(reply.get("amount"))
    if amount_rial != rial_from_micro(amount_micro):
        return AmountDiffers(f"{amount_rial} Rial of {rial_from_micro(amount_micro)}")
    return Verified(
        ref_id=wire.reference(reply.get("refNumber")) or authority,
        is_repeated=is_repeated,
        card_pan=masked_pan(reply.get("cardNumber")),
    )
