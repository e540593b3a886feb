"""GET /public/models.json: what is on sale at which price, now and from when on, and what each tier may do."""

from typing import Any

from django.utils import timezone

from accounts.models import Tier
from proxy import runtime
from proxy.api.public.kept import Document, Kept, from_database
from proxy.api.public.view import PublicView
from proxy.catalogue import public_list, rates
from proxy.http.request import APIRequest
from wallet.money import MICRO_PER_TOMAN

MADE_ANEW_SECONDS = 5.0


class PublicModels(PublicView):
    async def document(self, request: APIRequest) -> Document:
        return await _kept.get(None)


async def _list(_name: None) -> dict[str, Any]:
    models = [public_list.entry(model) for model in runtime.current().catalogue.all()]
    return {"object": "list", "data": models, **await from_database(beside_models)}


def beside_models() -> dict[str, Any]:
    """The rate that holds now, and the tiers."""
    rate = rates.rate_at(timezone.now())
    return {
        "rate": rate and public_list.rate(rial_per_dollar=rate.rial_per_dollar, valid_from=rate.valid_from),
        "tiers": [_tier(tier) for tier in Tier.objects.all()],
    }


def _tier(tier: Tier) -> dict[str, Any]:
    limits = {name: getattr(tier, name) for name in ("rpm", "tpm", "concurrency", "rpd", "tpd")}
    minimum = tier.min_lifetime_topup_micro
    return {
        "name": tier.name,
        "is_default": tier.is_default,
        "lifetime_topup_toman": None if minimum is None else minimum // MICRO_PER_TOMAN,
        "limits": limits,
        "account_limits": {name: limit and limit * tier.account_factor for name, limit in limits.items()},
    }


_kept = Kept(_list, seconds=MADE_ANEW_SECONDS)
