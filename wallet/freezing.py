"""Freezing: a wallet whose books contradict themselves moves no money until an admin has looked at it."""

import logging
from collections.abc import Iterable

from wallet import integrity
from wallet.ledger import writer

logger = logging.getLogger(__name__)


def freeze_broken(checks: Iterable[integrity.Check]) -> int:
    """Runs the checks in one snapshot and freezes every wallet that one of them names; returns how many violations.

    Each violation is an alarm in the log, also one that names no wallet.
    """
    with integrity.snapshot():
        found = list(integrity.wallets_of(checks))
    freeze(found)
    return len(found)


def freeze(found: Iterable[tuple[str, int | None]]) -> None:
    """Freezes the wallet of each violation, and sounds an alarm for each: the rule in words, and the wallet."""
    for invariant, wallet_id in found:
        logger.critical("ledger broken", extra={"invariant": invariant, "wallet": wallet_id})
        if wallet_id is not None:
            writer.freeze(wallet_id=wallet_id, because=f"check_ledger: {invariant}")


def unfreeze(*, wallet_id: int) -> None:
    """Lifts it. Opens a transaction."""
    writer.unfreeze(wallet_id=wallet_id)
