"""Which tests one process of `make test` takes together, and in which order.

A file's tests stay together, so that what it starts is started once; so do the files that share what they start. First
come the tests that are rolled back, as pytest-django has it: they may count all there is, and find nothing that others
have committed. Then what takes longest, so that no process is left with it at the end.
"""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# What shares more than a file; a folder stands for all in it.
TOGETHER = {
    "browser": ("tests/pages",),
    "service": (
        "tests/config/test_backups.py", "tests/config/test_reload.py", "tests/config/test_serve.py",
    ),
    "cluster": (
        "tests/proxy/api/test_shared_limits.py", "tests/proxy/limits/test_fullness.py",
        "tests/proxy/limits/test_limits.py", "tests/proxy/limits/test_limits_cluster.py",
    ),
}  # fmt: skip
LONGEST = (
    "browser", "service", "tests/proxy/api/test_failover.py", "cluster", "tests/chaos/test_chaos.py",
)  # fmt: skip
GROUP_OF = {path: name for name, paths in TOGETHER.items() for path in paths}


def group_of(nodeid: str) -> str:
    path = PurePath(nodeid.partition("::")[0])
    known = (GROUP_OF.get(str(each)) for each in (path, *path.parents))
    return next(filter(None, known), str(path))


def in_order(items: list[pytest.Item]) -> None:
    ranks = {group: rank for rank, group in enumerate(LONGEST)}
    found = {
        group: place for place, group in enumerate(dict.fromkeys(group_of(item.nodeid) for item in items))
    }

    def place(item: pytest.Item) -> tuple[bool, int, int]:
        group = group_of(item.nodeid)
        is_rolled_back = item.get_closest_marker("django_db") or "db" in getattr(item, "fixturenames", ())
        return not is_rolled_back, ranks.get(group, len(ranks)), found[group]

    items.sort(key=place)


def units(nodeids: Iterable[str]) -> dict[str, str]:
    """Each test's unit of work: its neighbours of the same group."""
    of: dict[str, str] = {}
    unit, last = "", ""
    for nodeid in nodeids:
        group = group_of(nodeid)
        if group != last:
            unit, last = f"{group} from {nodeid}", group
        of[nodeid] = unit
    return of


class Scheduling(LoadScopeScheduling):
    """xdist's own for groups does not see them (pytest 9.2 with pytest-xdist 3.8 drops the mark without a word)."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by the number of tests, which says little
        self._units: dict[str, str] = {}

    def schedule(self) -> None:
        self._units = self._units or units(next(iter(self.registered_collections.values())))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._units[nodeid]
