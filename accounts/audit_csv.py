"""The audit log as a CSV file of any length, newest entries first."""

from collections.abc import Iterator

from auditlog.models import LogEntry
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.shared.downloads import BYTE_ORDER_MARK, csv_bytes, harmless
from accounts.shared.formats import TEHRAN, jalali_text

BATCH = 1_000


def chunks(entries: QuerySet[LogEntry]) -> Iterator[bytes]:
    """These entries in pieces: time (ISO 8601, Tehran), Jalali day, action, kind of row, its id, its name, changes
    (one per line), by whom, from which address.

    Each piece is a short query of its own, so neither memory nor a transaction grows with the log.
    """
    actions = {value: str(label) for value, label in LogEntry.Action.choices}
    # Here, and not in the generator, which runs when the page's language is no longer known.
    header = (
        _("Time"), _("Jalali date"), _("Action"), _("Kind of row"), _("ID"), _("Row"), _("Changes"), _("Admin"),
        _("Address"),
    )  # fmt: skip
    return _chunks(entries.select_related("content_type", "actor").order_by("-pk"), header, actions)


def _chunks(entries: QuerySet[LogEntry], header: tuple[str, ...], actions: dict[int, str]) -> Iterator[bytes]:
    yield BYTE_ORDER_MARK.encode() + csv_bytes([header])
    following = entries
    while batch := list(following[:BATCH]):
        yield csv_bytes(_cells(entry, actions) for entry in batch)
        following = entries.filter(pk__lt=batch[-1].pk)


def _cells(entry: LogEntry, actions: dict[int, str]) -> tuple[str, ...]:
    return (
        entry.timestamp.astimezone(TEHRAN).isoformat(timespec="seconds"),
        jalali_text(entry.timestamp),
        actions[entry.action],
        f"{entry.content_type.app_label}.{entry.content_type.model}",
        harmless(entry.object_pk),
        harmless(entry.object_repr),
        harmless("\n".join(_lines(entry))),
        "" if entry.actor is None else harmless(entry.actor.mobile),
        entry.remote_addr or "",
    )


def _lines(entry: LogEntry) -> Iterator[str]:
    for what, change in sorted((entry.changes or {}).items()):
        if isinstance(change, dict):  # of a relation to many: what was added to it or taken from it
            yield f"{what}: {change.get('operation')} {', '.join(change.get('objects', []))}"
        else:
            before, after = change
            yield f"{what}: {before} → {after}"
