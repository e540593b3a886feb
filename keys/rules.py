"""What a key may do, as its owner sets it, and within which bounds. Pure: no Django."""

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

NAME_MAX_LENGTH = 80
COUNT_MAX = 1_000_000_000  # of requests and tokens per minute, and of requests at once
MODELS_MAX, NETWORKS_MAX = 100, 50
LAST_EXPIRY = datetime(2200, 1, 1, tzinfo=UTC)  # as far as calendars are read
UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, lone surrogates, ends of lines
UNSEEN = frozenset({"Cf", "Zs"})  # joiners, marks and spaces, of which a name cannot be made alone
TURNING = frozenset(
    {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
)  # how what is around them reads
GRACE_MAX = timedelta(days=7)  # of a key that is replaced
GRACE_USUAL = timedelta(days=1)


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


def clean_name(text: str) -> str:
    """A name as it is kept: trimmed. Raises ValueError where it is empty, too long, or no text for a line."""
    name = text.strip()
    kinds = {unicodedata.category(each) for each in name}
    turns = any(unicodedata.bidirectional(each) in TURNING for each in name)
    if len(name) > NAME_MAX_LENGTH or turns or kinds & UNFIT or kinds <= UNSEEN:
        raise ValueError(f"a name of 1 to {NAME_MAX_LENGTH} characters in one line")
    return name
