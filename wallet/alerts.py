"""One notice when a wallet's balance falls below what its owner chose, and none again until it has recovered.

Never more than one a day, whatever is set and however often the balance crosses the threshold.

The balance is what is posted: what requests reserve and give back warns nobody. Only money that comes in raises it,
so that it has recovered as soon as it is not below the threshold any more.
"""

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from accounts.channels import notices
from wallet.credits.models import WalletAlert
from wallet.ledger.models import Wallet
from wallet.wording import toman_in_sms

EVENT = "balance.low"
PER_RUN = 500
REARM = """
UPDATE wallet_walletalert a SET alerted_at = NULL
FROM wallet_wallet w
WHERE w.user_id = a.wallet_id AND a.alerted_at IS NOT NULL AND w.posted_micro >= a.threshold_micro
RETURNING a.wallet_id
"""
CLAIM = """
WITH due AS (
    SELECT a.wallet_id, w.posted_micro
    FROM wallet_walletalert a
    JOIN wallet_wallet w ON w.user_id = a.wallet_id
    JOIN accounts_user u ON u.id = a.wallet_id
    WHERE a.alerted_at IS NULL AND (a.sent_at IS NULL OR a.sent_at <= clock_timestamp() - interval '1 day')
      AND u.is_active AND w.posted_micro < a.threshold_micro
    LIMIT 1 FOR UPDATE OF a SKIP LOCKED
)
UPDATE wallet_walletalert a SET alerted_at = claimed.at, sent_at = claimed.at
FROM due, clock_timestamp() AS claimed(at) WHERE a.wallet_id = due.wallet_id AND a.alerted_at IS NULL
RETURNING a.wallet_id, due.posted_micro, a.alerted_at
"""


def threshold_micro(user_id: int) -> int | None:
    """What a user has chosen; None: no alert."""
    return WalletAlert.objects.filter(pk=user_id).values_list("threshold_micro", flat=True).first()


def choose(*, user_id: int, threshold_micro: int | None) -> None:
    """Sets or (None) removes a user's threshold. A wallet that is already below it causes no alert.

    Raises Wallet.DoesNotExist.
    """
    if threshold_micro is None:
        with transaction.atomic():
            WalletAlert.objects.filter(pk=user_id).update(threshold_micro=None)
            _withdraw([user_id])
        return
    wallet = Wallet.objects.get(pk=user_id)
    is_low = wallet.posted_micro < threshold_micro
    WalletAlert.objects.update_or_create(
        wallet=wallet,
        defaults={
            "threshold_micro": threshold_micro,
            "alerted_at": timezone.now() if is_low else None,
        },
    )


def tell_due() -> int:
    """Arms what has recovered, leaves a notice of what is due and returns of how many. Opens transactions."""
    if not notices.are_possible():
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(REARM)
        _withdraw([row[0] for row in cursor.fetchall()])
    told = 0
    while told < PER_RUN and _told():
        told += 1
    return told


def _told() -> bool:
    """One by one, so that nobody's wallet is locked for long."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CLAIM)
        row = cursor.fetchone()
        if row is None:
            return False
        user_id, posted_micro, alerted_at = row
        notices.notify(user_id=user_id, event=EVENT, dedup=alerted_at.isoformat(), text=_text(posted_micro))
    return True


def _withdraw(user_ids: list[int]) -> None:
    """What has not left is no longer true; whoever has heard nothing may be told of the next time today."""
    unheard = notices.withdraw(user_ids=user_ids, event=EVENT) if user_ids else set()
    WalletAlert.objects.filter(pk__in=unheard).update(sent_at=None)


def _text(posted_micro: int) -> str:
    with translation.override(settings.LANGUAGE_CODE):
        return _("Hamiran: your wallet is running low. Balance: %(amount)s Toman. Top up: %(address)s") % {
            "amount": toman_in_sms(posted_micro),
            "address": f"{settings.BASE_URL}/wallet/",
        }
