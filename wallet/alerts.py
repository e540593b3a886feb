"""One SMS when a wallet's balance falls below what its owner chose, and none again until it has recovered.

Never more than one a day, whatever is set and however often the balance crosses the threshold.

The balance is what is posted: what requests reserve and give back warns nobody. Only money that comes in raises it,
so that it has recovered as soon as it is not below the threshold any more.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from django.conf import settings
from django.db import connection
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from accounts.sms import sending
from wallet.credits.models import WalletAlert
from wallet.ledger.models import Wallet
from wallet.wording import toman_in_sms

logger = logging.getLogger(__name__)

SMS_PER_RUN = 500
SECONDS_PER_RUN = 45  # the next run, a minute after this one, goes on
REARM = """
UPDATE wallet_walletalert a SET alerted_at = NULL
FROM wallet_wallet w
WHERE w.user_id = a.wallet_id AND a.alerted_at IS NOT NULL AND w.posted_micro >= a.threshold_micro
"""
# Claimed before it is sent, and one at a time: a worker that dies in between loses one SMS, and none is sent twice.
CLAIM = """
WITH due AS (
    SELECT a.wallet_id, u.mobile, w.posted_micro
    FROM wallet_walletalert a
    JOIN wallet_wallet w ON w.user_id = a.wallet_id
    JOIN accounts_user u ON u.id = a.wallet_id
    WHERE a.alerted_at IS NULL AND (a.sent_at IS NULL OR a.sent_at <= clock_timestamp() - interval '1 day')
      AND u.is_active AND w.posted_micro < a.threshold_micro
      AND a.wallet_id <> ALL(%(failed)s)
    LIMIT 1 FOR UPDATE OF a SKIP LOCKED
)
UPDATE wallet_walletalert a SET alerted_at = claimed.at, sent_at = claimed.at
FROM due, clock_timestamp() AS claimed(at) WHERE a.wallet_id = due.wallet_id AND a.alerted_at IS NULL
RETURNING a.wallet_id, due.mobile, due.posted_micro, a.alerted_at
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed alert; `alerted_at` is the claim."""

    wallet_id: int
    mobile: str
    posted_micro: int
    alerted_at: datetime


def threshold_micro(user_id: int) -> int | None:
    """What a user has chosen; None: no alert."""
    return WalletAlert.objects.filter(pk=user_id).values_list("threshold_micro", flat=True).first()


def choose(*, user_id: int, threshold_micro: int | None) -> None:
    """Sets or (None) removes a user's threshold. A wallet that is already below it causes no alert.

    Raises Wallet.DoesNotExist.
    """
    if threshold_micro is None:
        WalletAlert.objects.filter(pk=user_id).update(threshold_micro=None)
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


def send_due() -> int:
    """Arms what has recovered, sends what is due and returns how many went out.

    Talks to the SMS provider, so it belongs outside transactions. What the provider refuses is tried by the next run.
    A run ends early when the provider can send to nobody, and after SECONDS_PER_RUN when it is slow.
    """
    try:
        sending.provider()
    except sending.NotConfigured:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(REARM)
    sent, failed, end = 0, list[int](), monotonic() + SECONDS_PER_RUN
    while sent + len(failed) < SMS_PER_RUN and monotonic() < end and (due := _claim(failed)):
        try:
            sending.send_text(mobile=due.mobile, text=_text(due))
        except sending.NoAnswer as error:
            _log(due, error)  # and it stays claimed: it may have arrived, and none is sent twice
            break
        except (sending.NeedsOperator, sending.Unreachable, sending.OverBudget) as error:
            _log(due, error)
            _unclaim(due)
            break
        except sending.SMSError as error:
            _log(due, error)
            _unclaim(due)
            failed.append(due.wallet_id)
        else:
            sent += 1
    return sent


def _log(due: Due, error: sending.SMSError) -> None:
    logger.log(
        logging.ERROR if isinstance(error, sending.NeedsOperator | sending.OverBudget) else logging.WARNING,
        "low balance SMS not sent",
        extra={"user_id": due.wallet_id, "error": type(error).__name__, "reason": str(error)},
    )


def _claim(failed: list[int]) -> Due | None:
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"failed": failed})
        row = cursor.fetchone()
    return Due(*row) if row else None


def _unclaim(due: Due) -> None:
    WalletAlert.objects.filter(pk=due.wallet_id, alerted_at=due.alerted_at).update(
        alerted_at=None, sent_at=None
    )


def _text(due: Due) -> str:
    language = settings.LANGUAGE_CODE
    with translation.override(language):
        return _("Hamiran: your wallet is running low. Balance: %(amount)s Toman. Top up: %(address)s") % {
            "amount": toman_in_sms(due.posted_micro),
            "address": f"{settings.BASE_URL}/wallet/",
        }
