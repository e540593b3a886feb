"""What an installation lacks, part by part, and what to do about it: what `manage.py doctor` says.

Nothing is changed, no message is sent, and nothing is asked of an upstream but a connection.
"""

from collections.abc import Callable, Iterator

from config.doctor import business, machine, work
from config.doctor.findings import Finding, Found, Level

__all__ = ["Finding", "Level", "examine"]


def examine() -> list[Finding]:
    """All findings, in the order in which they are best mended. Talks to engines, to this service and to peers."""
    found = [*_of("data folder", machine.data_folder), *_of("settings", machine.configuration)]
    database = list(_of("PostgreSQL", machine.postgresql))
    found += [
        *database,
        *_of("replica", machine.replica_of_postgresql),
        *_of("Valkey", machine.valkey),
        *_of("web", machine.web),
    ]
    found += _of("Celery", machine.celery)
    if any(finding.level is Level.PROBLEM for finding in database):
        return found  # what follows is read from there
    for part, check in (
        ("tasks", work.tasks),
        ("holds", business.holds),
        ("wallets", business.wallets),
        ("proof", work.proof),
        ("usage", business.usage),
        ("models", business.models),
        ("upstreams", business.upstreams),
        ("SMS", business.sms),
        ("bots", business.messengers),
        ("payments", business.payments),
        ("admins", business.admins),
        ("backups", business.backups),
    ):
        found += _of(part, check)
    return found


def _of(part: str, check: Callable[[], Found]) -> Iterator[Finding]:
    """A check that breaks down is itself a finding: the others are still made."""
    try:
        for level, said, advice in check():
            yield Finding(part, level, said, advice)
    except Exception as error:
        yield Finding(
            part, Level.PROBLEM, f"could not be examined: {error!r}", "Mend this first, then run it again."
        )
