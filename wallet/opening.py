"""What a new account gets here: a wallet, with its tier's sign-up credit while the day's lasts."""

from accounts.models import User
from wallet.credits import sign_up_credit
from wallet.ledger.models import Wallet


def open_wallet(*, user_id: int) -> None:
    """Makes the wallet of a new user. Needs an open transaction (settings.ACCOUNT_OPENED names this)."""
    user = User.objects.select_related("tier").get(pk=user_id)
    Wallet.objects.create(user=user)
    if user.tier.sign_up_credit_micro:
        sign_up_credit.give(wallet_id=user_id, amount_micro=user.tier.sign_up_credit_micro)
