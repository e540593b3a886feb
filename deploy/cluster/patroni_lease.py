"""Patroni as it is, but for two rules of the primary's lease. Run by Patroni's own Python.

- **A lease may be short.** Patroni raises it to 20 s whatever its configuration says, and its patience with etcd to
  3 s. Until the lease is over nobody takes the place of a primary whose machine is gone, so that 20 s of it cannot end
  within 15 s. What makes a lease safe stays in force: `loop_wait + 2 * retry_timeout <= ttl`.
- **A lock that was lost is made anew only where nobody had it meanwhile.** Somebody can have had it: a leader of etcd
  that stood still and goes on takes away leases that others have renewed by then (etcd issue 15247; Debian 12's 3.4.23
  does, and what newer ones do against it does not exclude it), among them that of the new primary. The old one, on the
  same machine, is the first to find the lock free, and would go on without what the new one has acknowledged. Whoever
  is promoted writes that into `/sync` before; so the lock is made anew only with `/sync` as it was.
"""

from typing import Any

from patroni.__main__ import main
from patroni.config import Config
from patroni.dcs import Leader
from patroni.dcs.etcd3 import Etcd3, PatroniEtcd3Client, base64_encode

MIN_SECONDS = {"ttl": 5, "retry_timeout": 2}
_READER = "_Config__get_and_maybe_adjust_int_value"
_read = getattr(Config, _READER)
_update = Etcd3._update_leader
_transact = PatroniEtcd3Client.txn


def _read_as_short(self: Config, config: dict[str, Any], name: str, minimum: int) -> int:
    value: int = _read(self, config, name, MIN_SECONDS.get(name, minimum))
    return value


def _update_as_seen(self: Etcd3, leader: Leader) -> bool:
    """Leaves with the client on what condition the lock may be made anew."""
    seen = self.cluster
    self._client.unchanged = {
        "key": base64_encode(self.sync_path),
        "target": "MOD",
        "mod_revision": (seen and seen.sync.version) or "0",  # no key has that
    }
    return bool(_update(self, leader))


def _transact_as_seen(
    self: PatroniEtcd3Client, compare: Any, success: Any, failure: Any = None, **more: Any
) -> dict[str, Any]:
    """`failure`, what to do instead, is given for the primary's lock alone: to make it where it is gone."""
    if failure is not None:
        failure["request_txn"]["compare"].append(self.unchanged)
    found: dict[str, Any] = _transact(self, compare, success, failure, **more)
    return found


setattr(Config, _READER, _read_as_short)
Etcd3._update_leader = _update_as_seen
PatroniEtcd3Client.txn = _transact_as_seen

if __name__ == "__main__":
    main()
