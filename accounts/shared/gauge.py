"""How much of something limited is used, as the pages draw it: a bar that changes its colour when it is nearly full."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gauge:
    """`used` may be over `limit`, as tokens can be. From `high_percent` on it is drawn as nearly full."""

    used: int
    limit: int
    high_percent: int = 80

    @property
    def percent(self) -> int:
        """From 0 to 100, cut; what is over the limit, or of a limit of nothing, counts as full."""
        return min(100 * self.used // self.limit, 100) if self.limit else 100

    @property
    def is_high(self) -> bool:
        return self.percent >= self.high_percent
