"""The operator's view of the money. Django finds its pages here."""

from wallet.admin import credits, money, sign_up_credit  # noqa: F401 - registers them
