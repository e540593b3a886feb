from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from tests.factories import WalletFactory
from wallet.ledger.models import Hold, JournalEntry, Wallet
from wallet.statements.reports import Booking, UnknownWallet, WalletReport, booking, wallet_report

pytestmark = pytest.mark.django_db


def test_a_report_tells_balance_holds_and_entries_of_this_wallet_alone() -> None:
    WalletFactory.create(credit_micro=999)
    wallet = WalletFactory.create(credit_micro=5_000)
    now = timezone.now()
    Hold.objects.create(
        id=uuid4(), wallet=wallet, amount_micro=1_200, created_at=now, expires_at=now + timedelta(minutes=1)
    )
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=1_200)
    assert wallet_report(user_id=wallet.pk) == WalletReport(
        posted_micro=5_000, held_micro=1_200, available_micro=3_800, open_holds=1, journal_entries=1
    )


def test_a_user_without_a_wallet_has_no_report() -> None:
    with pytest.raises(UnknownWallet):
        wallet_report(user_id=0)


def test_a_booking_is_a_transaction_s_entry_in_its_owner_s_wallet_alone() -> None:
    wallet, other = WalletFactory.create(credit_micro=5_000), WalletFactory.create()
    credit = JournalEntry.objects.get(wallet=wallet)
    asked = {"transaction_id": credit.transaction_id}
    assert booking(user_id=wallet.pk, **asked) == Booking(amount_micro=5_000, balance_micro=5_000)
    assert booking(user_id=other.pk, **asked) is None
    assert booking(user_id=wallet.pk, transaction_id=uuid4()) is None
