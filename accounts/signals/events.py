"""What an account can be told of by its webhooks: the names are part of the public contract."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

TEST = "webhook.test"  # asked for by its owner, sent to one endpoint, whatever it wants to hear of


class Event(TextChoices):
    BALANCE_LOW = "balance.low", _("The balance has fallen below the amount you chose")
    BALANCE_EMPTY = "balance.empty", _("The balance is used up")
    BALANCE_RECOVERED = "balance.recovered", _("The balance is sufficient again")
    BUDGET_80 = "budget.80", _("80 percent of a budget is spent")
    BUDGET_REACHED = "budget.reached", _("A budget is used up")
    TOPUP_CREDITED = "topup.credited", _("A top-up has reached the wallet")
    KEY_CREATED = "key.created", _("A key was created")
    KEY_REVOKED = "key.revoked", _("A key was revoked")
    PRICE_ANNOUNCED = "price.announced", _("A new price was announced")
