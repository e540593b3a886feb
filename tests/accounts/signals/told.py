"""What is in the outbox for an endpoint, in order."""

from typing import Any

from accounts.signals.models import WebhookEndpoint


def told(endpoint: WebhookEndpoint) -> list[tuple[str, Any]]:
    return [(each.event.event, each.event.data) for each in endpoint.deliveries.order_by("id")]


def names(endpoint: WebhookEndpoint) -> list[str]:
    return [event for event, _data in told(endpoint)]
