from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from tests.factories import WalletFactory
from wallet.models import Hold, Wallet
from wallet.reports import UnknownWallet, WalletReport, wallet_report

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
