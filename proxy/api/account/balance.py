"""GET /v1/balance: what the wallet has, exactly."""

from typing import Any

from proxy import runtime
from proxy.api.account.figures import toman, toman_or_none
from proxy.api.account.view import AccountGet
from proxy.http.request import APIRequest
from wallet.statements import reading


class Balance(AccountGet):
    async def answer(self, request: APIRequest, **arguments: Any) -> object:
        async with runtime.current().reading() as connection:
            funds = await reading.funds(connection, wallet_id=request.user_id)
        return {
            "available_toman": toman(funds.available_micro),
            "held_toman": toman(funds.held_micro),
            "posted_toman": toman(funds.posted_micro),
            "available_micro": funds.available_micro,
            "currency": "IRT",
            "low_balance_threshold_toman": toman_or_none(funds.threshold_micro),
        }
