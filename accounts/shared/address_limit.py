"""How often one client address may do something, in the memory of one process. Pure: no Django."""

import time
from collections import OrderedDict
from collections.abc import Callable

from accounts.shared.addresses import counted

WINDOW_SECONDS = 60.0
MAX_ADDRESSES = 20_000  # a flood from more of them forgets the oldest; it never fills the memory


class AddressLimit:
    """At most `per_minute` per address, told apart as `addresses.counted` does."""

    def __init__(
        self,
        *,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._max_addresses = max_addresses
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address: its end, how many

    def __len__(self) -> int:
        return len(self._windows)

    def wait_seconds(self, address: str) -> float:
        """How long this address has to wait; 0: it may go on."""
        end, count = self._windows.get(counted(address), (0.0, 0))
        return max(0.0, end - self._clock()) if count >= self._per_minute else 0.0

    def count(self, address: str) -> None:
        name, now = counted(address), self._clock()
        end, count = self._windows.get(name, (0.0, 0))
        self._windows[name] = (end, count + 1) if now < end else (now + WINDOW_SECONDS, 1)
        self._windows.move_to_end(name)
        if len(self._windows) > self._max_addresses:
            self._windows.popitem(last=False)
