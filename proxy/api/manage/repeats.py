"""A change under an `Idempotency-Key` is made once: whoever repeats it within a day is given the same answer.

The answer is kept in the transaction that makes the change, so there is never one without the other. It can hold a new
key's secret, which a client whose connection broke cannot get otherwise: therefore it is encrypted under
settings.FIELD_KEYS and forgotten after a day.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2s, sha256
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts import secrets
from keys.models import StoredAnswer
from proxy.errors import APIError

LIFE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is what JSON holds; `is_repeat`: the change was made by an earlier request."""

    body: dict[str, Any]
    status: int = 200
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What tells one change from another: its `Idempotency-Key` (None: it is never a repeat), method, path and body."""

    admin_key_id: int
    idempotency_key: str | None
    method: str
    path: str
    body: bytes

    @property
    def digest(self) -> bytes:
        return sha256(b"\n".join([self.method.encode(), self.path.encode(), self.body])).digest()


def once(asked: Asked, work: Callable[[], Answer]) -> Answer:
    """Carries out `work`, or tells how that ended before. Opens a transaction; what is refused leaves no trace.

    Raises what `work` does, and APIError request_in_progress, idempotency_mismatch, idempotency_replayed.
    """
    with transaction.atomic():
        if asked.idempotency_key is None:
            return work()
        if not _lock(asked):
            raise APIError("request_in_progress", headers={"Retry-After": "1"})
        kept = StoredAnswer.objects.filter(
            admin_key_id=asked.admin_key_id, idempotency_key=asked.idempotency_key
        ).first()
        if kept is not None and kept.created_at > timezone.now() - LIFE:
            return _repeated(asked, kept)
        if kept is not None:
            kept.delete()
        answer = work()
        StoredAnswer.objects.create(
            admin_key_id=asked.admin_key_id,
            idempotency_key=asked.idempotency_key,
            request_digest=asked.digest,
            answer_encrypted=secrets.encrypt(json.dumps({"status": answer.status, "body": answer.body})),
        )
        return answer


def purge() -> None:
    """Forgets what no repeat is told any more."""
    StoredAnswer.objects.filter(created_at__lte=timezone.now() - LIFE).delete()


def rotate_all() -> int:
    """Encrypts every kept answer under the newest of settings.FIELD_KEYS, and returns how many. Needs a transaction.

    Raises Undecryptable.
    """
    rows = list(StoredAnswer.objects.select_for_update().order_by("pk"))
    for row in rows:
        row.answer_encrypted = secrets.rotate(row.answer_encrypted)
        row.save(update_fields=["answer_encrypted"])
    return len(rows)


def _repeated(asked: Asked, kept: StoredAnswer) -> Answer:
    if bytes(kept.request_digest) != asked.digest:
        raise APIError("idempotency_mismatch", message="This Idempotency-Key was used for another request.")
    try:
        said = json.loads(secrets.decrypt(kept.answer_encrypted))
    except secrets.Undecryptable:
        message = "This change was made before, and its answer can no longer be read."
        raise APIError("idempotency_replayed", message=message) from None
    return Answer(said["body"], said["status"], is_repeat=True)


def _lock(asked: Asked) -> bool:
    """Whether no other transaction is at this key; until the end of this one, none can be."""
    name = f"manage {asked.admin_key_id} {asked.idempotency_key}".encode()
    number = int.from_bytes(blake2s(name, digest_size=8).digest(), signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        [is_locked] = cursor.fetchone()
    return bool(is_locked)
