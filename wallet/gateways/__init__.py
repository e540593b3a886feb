"""The payment gateways by name: the one that takes new payments, and any that has old ones to settle."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from wallet.gateways.interface import PaymentGateway
from wallet.gateways.sandbox import SandboxGateway

NONE = "none"


def configured() -> PaymentGateway | None:
    """The gateway of settings.PAYMENT_GATEWAY; None where this installation takes no payments."""
    return None if settings.PAYMENT_GATEWAY == NONE else named(settings.PAYMENT_GATEWAY)


def named(name: str) -> PaymentGateway:
    """Raises ImproperlyConfigured for a gateway that this installation does not have."""
    if name == SandboxGateway.name and settings.SANDBOX:  # play money must never buy anything in production
        return SandboxGateway()
    raise ImproperlyConfigured(f"There is no payment gateway {name!r} here.")
