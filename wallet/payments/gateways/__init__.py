"""The payment gateways by name: the one that takes new payments, and any that has old ones to settle."""

import logging

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from wallet.payments.gateways.interface import PaymentGateway
from wallet.payments.gateways.sandbox import SandboxGateway
from wallet.payments.gateways.zarinpal import ZarinpalGateway
from wallet.payments.gateways.zibal import ZibalGateway
from wallet.payments.models import GatewayChoice

NONE = "none"

logger = logging.getLogger(__name__)


def configured() -> PaymentGateway | None:
    """The gateway of new payments: what an admin chose, else settings.PAYMENT_GATEWAY; None: no payments."""
    chosen = GatewayChoice.objects.values_list("gateway", flat=True).first()
    if chosen and chosen != NONE and chosen not in available():
        logger.error("the gateway that an admin chose is not in the settings", extra={"gateway": chosen})
        chosen = None
    name = chosen or settings.PAYMENT_GATEWAY
    return None if name == NONE else named(name)


def available() -> list[str]:
    """The names of the gateways that the settings suffice for."""
    given = {
        "sandbox": settings.SANDBOX,  # play money must never buy anything in production
        "zarinpal": settings.ZARINPAL_MERCHANT_ID,
        "zibal": settings.ZIBAL_MERCHANT,
    }
    return [name for name, is_given in given.items() if is_given]


def named(name: str) -> PaymentGateway:
    """Raises ImproperlyConfigured for a gateway that this installation does not have."""
    match name if name in available() else None:
        case "sandbox":
            return SandboxGateway()
        case "zarinpal":
            return ZarinpalGateway(settings.ZARINPAL_BASE_URL, settings.ZARINPAL_MERCHANT_ID)
        case "zibal":
            return ZibalGateway(settings.ZIBAL_BASE_URL, settings.ZIBAL_MERCHANT)
        case _:
            raise ImproperlyConfigured(f"There is no payment gateway {name!r} here.")
