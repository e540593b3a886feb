"""Support sees webhooks and how their deliveries went, and neither their secrets nor the ends of their addresses."""

import pytest
from django.urls import reverse

from accounts.signals import outbox
from accounts.signals.models import WebhookDelivery, WebhookEndpoint
from tests.admin_browser import admin_browser
from tests.factories import WebhookEndpointFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", [WebhookEndpoint, WebhookDelivery])
def test_support_reads_and_changes_nothing(model: type[WebhookEndpoint | WebhookDelivery]) -> None:
    endpoint = WebhookEndpointFactory.create(address="https://hooks.example.com/a?token=sesame")
    outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
    row = model._default_manager.latest("pk")
    name = f"admin:accounts_{model._meta.model_name}"
    browser = admin_browser()
    number = "0" + endpoint.user.mobile.removeprefix("+98")
    pages = [
        browser.get(reverse(f"{name}_changelist"), {"q": number}),
        browser.get(reverse(f"{name}_change", args=[row.pk])),
    ]
    for page in pages:
        assert page.status_code == 200
        assert endpoint.user.mobile in page.content.decode()
        for secret in ("sesame", "gAAAA", "whsec_A"):
            assert secret not in page.content.decode()
    for path in (reverse(f"{name}_add"), reverse(f"{name}_delete", args=[row.pk])):
        assert browser.get(path).status_code == 403
    assert browser.post(reverse(f"{name}_change", args=[row.pk]), {"state": "paused"}).status_code == 403
