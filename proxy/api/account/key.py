"""GET /v1/key: what the key that asks may do, and what is left of it."""

from typing import Any

from keys.lookup import describe
from proxy import runtime
from proxy.api.account.figures import moment, toman
from proxy.api.account.view import AccountGet
from proxy.http.request import APIRequest
from proxy.http.throttling import ceiling
from proxy.limits.local_window import Limits, Window
from wallet.ledger.budgets import BudgetReport
from wallet.statements import reading


class CurrentKey(AccountGet):
    tells_admin_keys = False
    tells_project_keys = True

    async def answer(self, request: APIRequest, **arguments: Any) -> object:
        now, key = runtime.current(), request.key
        of_key, of_account = await now.limiter.standing(user_id=key.user_id, key_id=key.key_id)
        async with now.reading() as connection:
            described = await describe(connection, key.key_id)
            cap = await reading.budget(connection, wallet_id=key.wallet_id, budget_id=key.budget_id)
            shared = await reading.budget(
                connection, wallet_id=key.wallet_id, budget_id=key.project_budget_id
            )
        return {
            "object": "key",
            "name": described.name,
            "hint": f"hm-…{described.last_four}",
            "created_at": moment(described.created_at),
            "expires_at": key.expires_at and moment(key.expires_at),
            "tier": key.tier_name,
            "limits": _left(Limits(key.rpm, key.tpm, key.concurrency), of_key),
            "account_limits": _left(ceiling(key), of_account),
            "cap": cap and _cap(cap),
            "project": key.project_id
            and {"id": key.project_id, "name": described.project, "cap": shared and _cap(shared)},
            "allowed_models": sorted(key.allowed_models),
            "allowed_networks": [str(network) for network in key.allowed_networks],
        }


def _left(limits: Limits, window: Window) -> dict[str, Any]:
    """Of any 60 seconds, and of requests at once, which are counted where they are limited."""
    return {
        "requests_per_minute": _of(limits.rpm, window.requests),
        "tokens_per_minute": _of(limits.tpm, window.tokens),
        "concurrency": _of(limits.concurrency, window.running if limits.concurrency else None),
    }


def _of(limit: int | None, used: int | None) -> dict[str, int | None]:
    remaining = None if limit is None or used is None else max(0, limit - used)
    return {"limit": limit, "used": used, "remaining": remaining}


def _cap(cap: BudgetReport) -> dict[str, Any]:
    return {
        "limit_toman": toman(cap.limit_micro),
        "spent_toman": toman(cap.spent_micro),
        "held_toman": toman(cap.held_micro),
        "remaining_toman": toman(cap.remaining_micro),
        "period": cap.period.value,
        "resets_at": cap.resets_at and moment(cap.resets_at),
    }
