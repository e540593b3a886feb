"""What an owner does with webhooks: adds them, changes them, pauses them, gives them another secret, tests them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urldefrag

import httpx
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import secrets
from accounts.shared import outbound
from accounts.shared.outbound import UnsafeURL
from accounts.signals import outbox, signing
from accounts.signals.events import Event
from accounts.signals.models import ADDRESS_MAX_LENGTH, WebhookDelivery, WebhookEndpoint

MAX_ENDPOINTS = 10
OLD_SECRET_LASTS = timedelta(hours=24)
State = WebhookEndpoint.State


class TooManyEndpoints(Exception):
    """The user has MAX_ENDPOINTS already."""


class AddressTaken(Exception):
    """Another endpoint of the user has this address."""


class UnknownEndpoint(Exception):
    """The user has no such endpoint."""


class AlreadyRotated(Exception):
    """That secret has been replaced already, by one that cannot be shown again."""


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret at the only moment when it is shown."""

    endpoint_id: int
    secret: str = field(repr=False)


def checked_address(address: str) -> str:
    """Asks the resolver, so it belongs outside transactions. Raises UnsafeURL, whose message is for the owner."""
    url, _fragment = urldefrag(address)
    parts = outbound.check(url, allowed_hosts=settings.WEBHOOK_ALLOWED_HOSTS, max_length=ADDRESS_MAX_LENGTH)
    if parts.hostname not in settings.WEBHOOK_ALLOWED_HOSTS and 443 != (parts.port or 443) < 1024:
        raise UnsafeURL(_("The port must be 443, or 1024 and above."))
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        raise UnsafeURL(_("This is not a URL.")) from None
    return url


def create(*, user_id: int, address: str, events: Iterable[str]) -> NewSecret:
    """Opens a transaction, after the resolver was asked. Raises UnsafeURL, TooManyEndpoints, AddressTaken."""
    address = checked_address(address)
    secret = signing.new_secret()
    with transaction.atomic():
        own = _locked(user_id)
        if any(each.address == address for each in own):
            raise AddressTaken(address)
        if len(own) >= MAX_ENDPOINTS:
            raise TooManyEndpoints
        endpoint = WebhookEndpoint.objects.create(
            user_id=user_id,
            address=address,
            events=[Event(each).value for each in events],
            secret_encrypted=secrets.encrypt(secret),
        )
    return NewSecret(endpoint.pk, secret)


def change(*, user_id: int, endpoint_id: int, address: str, events: Iterable[str]) -> None:
    """Opens a transaction, after the resolver was asked. What waits already goes to the new address.

    Raises UnsafeURL, UnknownEndpoint, AddressTaken.
    """
    address = checked_address(address)
    with transaction.atomic():
        own = {each.pk: each for each in _locked(user_id)}
        if endpoint_id not in own:
            raise UnknownEndpoint(endpoint_id)
        if any(each.address == address and each.pk != endpoint_id for each in own.values()):
            raise AddressTaken(address)
        WebhookEndpoint.objects.filter(pk=endpoint_id).update(
            address=address, events=[Event(each).value for each in events]
        )


def pause(*, user_id: int, endpoint_id: int) -> None:
    """What happens from now on waits. Raises UnknownEndpoint."""
    get(user_id=user_id, endpoint_id=endpoint_id)
    WebhookEndpoint.objects.filter(pk=endpoint_id, state=State.ACTIVE).update(state=State.PAUSED)


def resume(*, user_id: int, endpoint_id: int) -> None:
    """Sends what waits, each with its full time again. Opens a transaction. Raises UnknownEndpoint."""
    now = timezone.now()
    with transaction.atomic():
        get(user_id=user_id, endpoint_id=endpoint_id)
        stopped = WebhookEndpoint.objects.filter(pk=endpoint_id).exclude(state=State.ACTIVE)
        if stopped.update(state=State.ACTIVE, disabled_because="", failing_since=None):
            WebhookDelivery.objects.filter(endpoint=endpoint_id, state=WebhookDelivery.State.WAITING).update(
                queued_at=now, next_at=now, attempts=0, attempted_at=None, status=None, error=""
            )


def rotate_secret(*, user_id: int, endpoint_id: int, version: str | None = None) -> NewSecret:
    """A new secret; the one before also signs for OLD_SECRET_LASTS. Opens a transaction.

    With the `version` of the secret that is to be replaced, none is replaced twice. Raises UnknownEndpoint,
    AlreadyRotated.
    """
    secret = signing.new_secret()
    with transaction.atomic():
        endpoint = _own(user_id).select_for_update(no_key=True).filter(pk=endpoint_id).first()
        if endpoint is None:
            raise UnknownEndpoint(endpoint_id)
        if version is not None and version != secret_version(endpoint):
            raise AlreadyRotated(endpoint_id)
        endpoint.previous_secret_encrypted = endpoint.secret_encrypted
        endpoint.previous_secret_until = timezone.now() + OLD_SECRET_LASTS
        endpoint.secret_encrypted = secrets.encrypt(secret)
        endpoint.save(
            update_fields=["secret_encrypted", "previous_secret_encrypted", "previous_secret_until"]
        )
    return NewSecret(endpoint_id, secret)


def secret_version(endpoint: WebhookEndpoint) -> str:
    until = endpoint.previous_secret_until
    return "" if until is None else until.isoformat()


def delete(*, user_id: int, endpoint_id: int) -> None:
    """With all that waits for it. A repeat raises UnknownEndpoint."""
    deleted, _by_model = _own(user_id).filter(pk=endpoint_id).delete()
    if not deleted:
        raise UnknownEndpoint(endpoint_id)


def send_test(*, user_id: int, endpoint_id: int) -> None:
    """Queues a test event behind what waits, unless one waits already. Opens a transaction. Raises UnknownEndpoint."""
    with transaction.atomic():
        if not _own(user_id).select_for_update(no_key=True).filter(pk=endpoint_id).exists():
            raise UnknownEndpoint(endpoint_id)
        outbox.emit_test(user_id=user_id, endpoint_id=endpoint_id)


def get(*, user_id: int, endpoint_id: int) -> WebhookEndpoint:
    """Raises UnknownEndpoint."""
    endpoint = _own(user_id).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise UnknownEndpoint(endpoint_id)
    return endpoint


def listing(*, user_id: int) -> list[WebhookEndpoint]:
    return list(_own(user_id))


def rotate_field_keys() -> int:
    """Encrypts all secrets under the newest of FIELD_KEYS; returns how many endpoints. Opens a transaction.

    Raises secrets.Undecryptable, after which nothing has changed.
    """
    with transaction.atomic():
        endpoints = list(WebhookEndpoint.objects.select_for_update(no_key=True).order_by("pk"))
        for each in endpoints:
            each.secret_encrypted = secrets.rotate(each.secret_encrypted)
            if each.previous_secret_encrypted is not None:
                each.previous_secret_encrypted = secrets.rotate(each.previous_secret_encrypted)
        WebhookEndpoint.objects.bulk_update(endpoints, ["secret_encrypted", "previous_secret_encrypted"])
    return len(endpoints)


def _own(user_id: int) -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.filter(user_id=user_id)


def _locked(user_id: int) -> list[WebhookEndpoint]:
    """A user's endpoints, with their owner locked: two requests at once pass no limit."""
    get_user_model().objects.select_for_update(no_key=True).get(pk=user_id)
    return list(_own(user_id))
