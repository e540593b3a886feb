"""How accounts are opened: one per number, with all that the apps above give to a new one."""

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils.module_loading import import_string

from accounts.models import Tier, User


def open_account(*, mobile: str) -> User:
    """The account of an E.164 number, opened with the default tier if there is none. Opens a transaction.

    Of two first sign-ins at once, one makes the account and the other waits for it.
    """
    user = User.objects.filter(mobile=mobile).first()
    if user is not None:
        return user
    fields = {"tier": Tier.objects.get(is_default=True), "password": make_password(None)}
    with transaction.atomic():
        user, is_new = User.objects.get_or_create(mobile=mobile, defaults=fields)
        if is_new:
            furnish(user_id=user.pk)
    return user


def furnish(*, user_id: int) -> None:
    """Gives a new user what settings.ACCOUNT_OPENED names. Needs the transaction that made the row."""
    assert transaction.get_connection().in_atomic_block, (
        "furnish() belongs into the transaction of the user's row"
    )
    for path in settings.ACCOUNT_OPENED:
        import_string(path)(user_id=user_id)
