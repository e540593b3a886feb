"""What is counted as sold is what the ledger took."""

from django.db.models import Sum

from proxy.usage.models import UsageRecord
from proxy.usage.sales import counting
from proxy.usage.sales.models import CustomerSales
from tests.fake_upstream import FakeUpstream, respond
from tests.live import eventually
from tests.proxy.api.conftest import WHOLE_LIST_MODEL, Caller
from wallet.ledger.models import JournalEntry


def test_sales_to_a_customer_are_what_their_wallet_paid(caller: Caller, upstream: FakeUpstream) -> None:
    caller.ask()
    caller.ask(model=WHOLE_LIST_MODEL)
    upstream.script = respond(400, {"error": {"message": "no"}})
    caller.ask()
    records = UsageRecord.objects.filter(user_id=caller.wallet.pk)
    eventually(lambda: records.count() == 3)
    counting.count()
    sold = CustomerSales.objects.filter(user_id=caller.wallet.pk, period="day").aggregate(
        **{name: Sum(name) for name in ("requests", "refused", "billed_requests", "billed_micro")}
    )
    paid = JournalEntry.objects.filter(wallet=caller.wallet, kind=JournalEntry.Kind.COMPLETION).aggregate(
        amount=Sum("amount_micro")
    )["amount"]
    assert sold == {"requests": 3, "refused": 1, "billed_requests": 2, "billed_micro": -paid}
    assert paid < 0
