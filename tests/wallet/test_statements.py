import pytest

from tests.factories import WalletFactory
from wallet import credits, statements

pytestmark = pytest.mark.django_db


def test_pages_follow_each_other_without_gap_or_repeat_and_end() -> None:
    wallet = WalletFactory.create()
    for amount in range(1, 8):
        credits.give(wallet_id=wallet.pk, amount_micro=amount)
        credits.give(wallet_id=WalletFactory.create().pk, amount_micro=amount)
    amounts, sizes, cursor = [], [], None
    while True:
        page = statements.page(user_id=wallet.pk, before=cursor, size=3)
        amounts += [row.amount_micro for row in page.rows]
        sizes.append(len(page.rows))
        cursor = page.older
        if cursor is None:
            break
    assert amounts == [7, 6, 5, 4, 3, 2, 1]
    assert sizes == [3, 3, 1]


def test_a_last_page_that_is_full_knows_that_it_is_the_last() -> None:
    wallet = WalletFactory.create()
    for _ in range(3):
        credits.give(wallet_id=wallet.pk, amount_micro=1)
    assert statements.page(user_id=wallet.pk, size=3).older is None


def test_each_row_has_the_balance_after_it() -> None:
    wallet = WalletFactory.create()
    for amount in (5, 7):
        credits.give(wallet_id=wallet.pk, amount_micro=amount)
    rows = statements.page(user_id=wallet.pk).rows
    assert [(row.amount_micro, row.balance_micro, row.kind) for row in rows] == [
        (7, 12, "operator_credit"),
        (5, 5, "operator_credit"),
    ]
