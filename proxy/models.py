"""Where Django finds this app's models: each stands with its subject."""

from proxy.catalogue.exchange_models import ExchangeRate
from proxy.catalogue.models import LanguageModel, Price, PriceChange, Route, Upstream
from proxy.usage.models import UsageRecord, UsageRollup

__all__ = [
    "ExchangeRate",
    "LanguageModel",
    "Price",
    "PriceChange",
    "Route",
    "Upstream",
    "UsageRecord",
    "UsageRollup",
]
