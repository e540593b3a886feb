"""Patroni as it is, but for the lease of the primary, which it raises to 20 s whatever its configuration says.

Until the lease is over nobody takes the place of a primary whose machine is gone, so that 20 s of it cannot end within
15 s. What makes a lease safe stays in force: `loop_wait + 2 * retry_timeout <= ttl`. Run by Patroni's own Python.
"""

from typing import Any

from patroni.__main__ import main
from patroni.config import Config

LEASE_MIN_SECONDS = 7
_READER = "_Config__get_and_maybe_adjust_int_value"
_read = getattr(Config, _READER)


def _read_as_short(self: Config, config: dict[str, Any], name: str, minimum: int) -> int:
    value: int = _read(self, config, name, LEASE_MIN_SECONDS if name == "ttl" else minimum)
    return value


setattr(Config, _READER, _read_as_short)

if __name__ == "__main__":
    main()
