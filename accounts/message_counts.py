"""Codes and notices are counted by day and by how they ended, as long as their rows are there.

Run late, twice or at once, it counts the same: days are counted anew from their rows. Codes are there by whole days
(accounts.challenges.purge), and a notice is over a few days after it was written.
"""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Count, F, Max, Min, QuerySet, Value, When
from django.db.models.functions import TruncDate

from accounts.channel_models import ChannelName, MessageCount, Notice
from accounts.models import Challenge

NOTICES_OVER = timedelta(days=4)  # more than accounts.channels.notices.WORTH_SENDING and a day
LOCK = 0x6D736773  # "msgs"
# One whose SMS the provider did not take is voided in the moment of its making (accounts.sign_in.send_code).
OUTCOME_OF_CODE = Case(
    When(consumed_at__isnull=False, then=Value(MessageCount.CodeOutcome.ANSWERED.value)),
    When(voided_at__lte=F("created_at"), then=Value(MessageCount.CodeOutcome.NOT_SENT.value)),
    default=Value(MessageCount.CodeOutcome.UNANSWERED.value),
)


def count() -> None:
    """Opens a transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        codes = Challenge.objects.order_by()
        first = codes.aggregate(at=Min("created_at"))["at"]
        if first is not None:
            found = codes.annotate(channel=Value(ChannelName.SMS.value), ended=OUTCOME_OF_CODE)
            _count(MessageCount.Kind.CODE, found, since=day_of(first))
        notices = Notice.objects.order_by().annotate(ended=F("outcome"))
        _count(MessageCount.Kind.NOTICE, notices, since=_first_day_of_notices())


def _first_day_of_notices() -> date | None:
    counted = MessageCount.objects.filter(kind=MessageCount.Kind.NOTICE).aggregate(day=Max("day"))["day"]
    if counted is not None:
        before: date = counted - NOTICES_OVER
        return before
    first = Notice.objects.aggregate(at=Min("created_at"))["at"]
    return None if first is None else day_of(first)


def _count(
    kind: MessageCount.Kind, rows: QuerySet[Challenge] | QuerySet[Notice], *, since: date | None
) -> None:
    if since is None:
        return
    found = (
        rows.filter(created_at__gte=midnight(since))
        .annotate(day=TruncDate("created_at", tzinfo=ZoneInfo(settings.TIME_ZONE)))
        .values_list("day", "channel", "ended")
        .annotate(messages=Count("pk"))
    )
    counted = [
        MessageCount(day=day, kind=kind, channel=channel, outcome=outcome, messages=messages)
        for day, channel, outcome, messages in found
    ]
    MessageCount.objects.filter(kind=kind, day__gte=since).delete()
    MessageCount.objects.bulk_create(counted)


def day_of(moment: datetime) -> date:
    """Tehran's."""
    return moment.astimezone(ZoneInfo(settings.TIME_ZONE)).date()


def midnight(day: date) -> datetime:
    """Its beginning."""
    return datetime.combine(day, time.min, tzinfo=ZoneInfo(settings.TIME_ZONE))
