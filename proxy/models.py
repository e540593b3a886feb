"""Where Django finds this app's models: each stands with its subject."""

from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.prices.models import ExchangeRate, Price, PriceChange
from proxy.idempotency.models import AnswerKeeping, IdempotentRequest, KeptAnswer
from proxy.usage.health.models import HealthProgress, ModelHealth
from proxy.usage.models import EndUserRollup, UsageRecord, UsageRollup
from proxy.usage.sales.models import CustomerSales, RouteSales, SalesProgress

__all__ = [
    "AnswerKeeping",
    "CustomerSales",
    "EndUserRollup",
    "ExchangeRate",
    "HealthProgress",
    "IdempotentRequest",
    "KeptAnswer",
    "LanguageModel",
    "ModelHealth",
    "Price",
    "PriceChange",
    "Route",
    "RouteSales",
    "SalesProgress",
    "Upstream",
    "UsageRecord",
    "UsageRollup",
]
