"""GET /v1/transactions: the statement, line by line. A line's id is that of the top-up or the request behind it."""

from typing import Any

from proxy import runtime
from proxy.api import fields
from proxy.api.account.figures import moment, toman
from proxy.api.account.ids import request_id
from proxy.api.account.view import AccountGet
from proxy.http.request import APIRequest
from wallet.statements import reading
from wallet.statements.lines import StatementRow

PAGE, PAGE_MAX = 50, 1_000
ORDERS = {"desc": False, "asc": True}


class Transactions(AccountGet):
    async def answer(self, request: APIRequest, **arguments: Any) -> object:
        query = request.query
        limit = fields.number_in_query(query, "limit", maximum=PAGE_MAX, default=PAGE)
        order, after = query.get("order", "desc"), query.get("after")
        if order not in ORDERS:
            raise fields.invalid("order", '"desc" (the newest first) or "asc"')
        place = None if after is None else request_id(after)
        if after is not None and place is None:
            raise _broken_cursor()
        try:
            async with runtime.current().reading() as connection:
                found = await reading.lines(
                    connection,
                    wallet_id=request.user_id,
                    after=place,
                    oldest_first=ORDERS[order],
                    limit=limit + 1,
                )
        except reading.UnknownTransaction:
            raise _broken_cursor() from None
        lines = [_line(row) for row in found[:limit]]
        # Where it ends, too: asked again from there, the oldest first, it tells what has come since.
        last = lines[-1]["id"] if lines else place and place.hex
        return {"object": "list", "data": lines, "has_more": len(found) > limit, "next_after": last}


def _broken_cursor() -> Exception:
    return fields.invalid("after", "the id of a transaction of this account")


def _line(row: StatementRow) -> dict[str, Any]:
    return {
        "id": row.transaction_id.hex,
        "object": "transaction",
        "kind": row.kind.value,
        "created_at": moment(row.created_at),
        "amount_toman": toman(row.amount_micro),
        "amount_micro": row.amount_micro,
        "balance_toman": toman(row.balance_micro),
        "balance_micro": row.balance_micro,
    }
