from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from wallet.payments.gateways import sandbox
from wallet.payments.gateways.interface import AmountDiffers, NotPaid, PaymentRequest, Pending, Verified
from wallet.payments.models import SandboxPayment

pytestmark = pytest.mark.django_db
GATEWAY = sandbox.SandboxGateway()


def start() -> str:
    return GATEWAY.start(PaymentRequest(uuid4(), 5_000, "+989121234567", "http://shop/back/")).authority


def test_a_payment_that_was_not_made_on_its_page_does_not_verify() -> None:
    assert GATEWAY.verify(authority=start(), amount_micro=5_000) == Pending()
    assert GATEWAY.verify(authority="S0", amount_micro=5_000) == NotPaid()


def test_a_second_verify_says_verified_before_with_the_same_reference() -> None:
    authority = start()
    sandbox.decide(authority, pays=True)
    first, second = (GATEWAY.verify(authority=authority, amount_micro=5_000) for _ in range(2))
    assert isinstance(first, Verified)
    assert not first.is_repeated
    assert second == Verified(first.ref_id, is_repeated=True)


def test_another_amount_does_not_verify() -> None:
    authority = start()
    sandbox.decide(authority, pays=True)
    assert isinstance(GATEWAY.verify(authority=authority, amount_micro=50_000), AmountDiffers)
    assert SandboxPayment.objects.get(pk=authority).verified_at is None


@pytest.mark.parametrize("pays_first", [True, False])
def test_the_first_click_counts(pays_first: bool) -> None:
    authority = start()
    sandbox.decide(authority, pays=pays_first)
    page = sandbox.decide(authority, pays=not pays_first)
    assert page.status == ("paid" if pays_first else "cancelled")
    assert not page.is_open
    assert (
        page.return_url == f"http://shop/back/?Authority={authority}&Status={'OK' if pays_first else 'NOK'}"
    )


def test_a_payment_that_is_too_old_can_no_longer_be_made() -> None:
    authority = start()
    SandboxPayment.objects.filter(pk=authority).update(created_at=timezone.now() - timedelta(minutes=15))
    assert not sandbox.decide(authority, pays=True).is_open
    assert GATEWAY.verify(authority=authority, amount_micro=5_000) == NotPaid()


def test_there_is_no_page_for_a_payment_that_never_was() -> None:
    with pytest.raises(sandbox.UnknownPayment):
        sandbox.page("S0")
    with pytest.raises(sandbox.UnknownPayment):
        sandbox.decide("S0", pays=True)
