"""The sandbox's demo account: some play money and one key, kept in a file so that a restart shows the same."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import transaction

from accounts.models import User
from accounts.opening import open_account
from keys import lifecycle
from keys.models import APIKey
from keys.secret import digest, has_valid_checksum
from wallet.credits import gifts
from wallet.ledger.models import JournalEntry
from wallet.money import micro_from_toman

MOBILE = "+989120000000"
KEY_NAME = "demo"
CREDIT_TOMAN = 100_000


class NotSandbox(Exception):
    """A demo account belongs into the sandbox only."""


@dataclass(frozen=True, slots=True)
class DemoKey:
    key: str = field(repr=False)
    mobile: str


def demo_key() -> DemoKey:
    """The demo key, made anew if its file is gone or it was revoked. Opens a transaction. Raises NotSandbox."""
    if not settings.SANDBOX:
        raise NotSandbox
    path = settings.VAR_DIR / "secrets" / "demo_key"
    kept = path.read_text(errors="replace").strip() if path.exists() else ""
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=open_account(mobile=MOBILE).pk)
        given = JournalEntry.objects.filter(wallet_id=user.pk, kind=JournalEntry.Kind.OPERATOR_CREDIT)
        if not given.exists():
            gifts.give(wallet_id=user.pk, amount_micro=micro_from_toman(CREDIT_TOMAN))
        works = _works(kept, user_id=user.pk)
        secret = kept if works else lifecycle.create(user_id=user.pk, name=KEY_NAME).secret
    if not works:
        _keep(path, secret)
    return DemoKey(key=secret, mobile=MOBILE)


def _works(secret: str, *, user_id: int) -> bool:
    if not has_valid_checksum(secret):
        return False
    digests = [digest(secret, pepper) for pepper in settings.PEPPERS.values()]
    return APIKey.objects.filter(user_id=user_id, digest__in=digests, revoked_at=None).exists()


def _keep(path: Path, secret: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(secret)
    draft.replace(path)
