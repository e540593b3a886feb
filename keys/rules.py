"""What a key may do, as its owner sets it. Pure: no Django."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Nothing set: the key may do what its owner's tier may.

    Empty tuples allow every model and every network (CIDR, as `keys.networks` writes it). Of `rpm`, `tpm` and
    `concurrency` and the tier's, the lower one holds. What the key spends counts towards the budget.
    """

    expires_at: datetime | None = None
    allowed_models: tuple[str, ...] = ()
    allowed_networks: tuple[str, ...] = ()
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    budget_id: int | None = None
