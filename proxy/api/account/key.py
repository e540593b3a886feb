"""GET /v1/key: what the key that asks may do, and what is left of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from keys.lookup import KeyIdentity, describe
from proxy import runtime
from proxy.api.account.figures import moment, toman
from proxy.api.account.view import AccountGet
from proxy.http.request import APIRequest
from proxy.limits import bounds, day
from proxy.limits.admission import Limits, Window
from proxy.limits.day import Use
from wallet.ledger.budgets import BudgetReport
from wallet.statements import reading


class CurrentKey(AccountGet):
    tells_admin_keys = False
    tells_project_keys = True

    async def answer(self, request: APIRequest, **arguments: Any) -> object:
        now, key = runtime.current(), request.key
        limits, ceiling = bounds.limits(key), bounds.ceiling(key)
        of_key, of_account = await now.limiter.standing(user_id=key.user_id, key_id=key.key_id)
        days: tuple[Use | None, Use | None] = None, None
        if limits.is_daily or ceiling.is_daily:
            days = await now.limiter.today(user_id=key.user_id, key_id=key.key_id)
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
            "limits": _left(limits, of_key, days[0]),
            "account_limits": _left(ceiling, of_account, days[1]),
            "model_limits": [_of_model(key, model) for model in sorted(key.models)],
            "day_resets_at": moment(_midnight()),
            "cap": cap and _cap(cap),
            "project": key.project_id
            and {"id": key.project_id, "name": described.project, "cap": shared and _cap(shared)},
            "allowed_models": sorted(key.allowed_models),
            "allowed_networks": [str(network) for network in key.allowed_networks],
        }


def _left(limits: Limits, window: Window, used: Use | None) -> dict[str, Any]:
    """Of any 60 seconds, of the day, and of requests at once; the last two are counted where they are limited."""
    return {
        "requests_per_minute": _of(limits.rpm, window.requests),
        "tokens_per_minute": _of(limits.tpm, window.tokens),
        "requests_per_day": _of(limits.rpd, used and used.requests),
        "tokens_per_day": _of(limits.tpd, used and used.tokens),
        "concurrency": _of(limits.concurrency, window.running if limits.concurrency else None),
    }


def _of_model(key: KeyIdentity, model: str) -> dict[str, Any]:
    """What one model's own limits are. How full they are is told by the headers of its answers."""
    found = bounds.of_model(key, model)
    assert found is not None
    return {"model": model, "limits": _named(found.limits), "account_limits": _named(found.ceiling)}


def _named(limits: Limits) -> dict[str, int | None]:
    found = bounds.named(limits)
    return {
        "requests_per_minute": found["rpm"],
        "tokens_per_minute": found["tpm"],
        "requests_per_day": found["rpd"],
        "tokens_per_day": found["tpd"],
        "concurrency": found["concurrency"],
    }


def _midnight() -> datetime:
    now = datetime.now(UTC)
    return (now + timedelta(milliseconds=day.left_ms(now))).replace(microsecond=0)


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
