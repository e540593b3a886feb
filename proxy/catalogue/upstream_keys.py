"""Re-encrypts all upstream keys, as a change of FIELD_KEYS requires."""

from django.db import transaction

from proxy.catalogue import secrets
from proxy.catalogue.models import Upstream


def rotate_all() -> int:
    """Encrypts every upstream key under the newest of FIELD_KEYS; returns how many. Opens a transaction.

    Raises secrets.Undecryptable, after which nothing has changed.
    """
    with transaction.atomic():
        upstreams = list(Upstream.objects.select_for_update(no_key=True).exclude(api_key_encrypted=b""))
        for upstream in upstreams:
            upstream.api_key_encrypted = secrets.rotate(upstream.api_key_encrypted)
        # In bulk, past the audit log: no secret changes, only what wraps it.
        Upstream.objects.bulk_update(upstreams, ["api_key_encrypted"])
    return len(upstreams)
