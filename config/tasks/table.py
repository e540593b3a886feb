"""The tasks on the admin's front page: when each last ended well, how long it took, how late it was begun."""

from datetime import datetime

from django.contrib.admin.utils import quote
from django.contrib.auth.models import AnonymousUser
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.shared.formats import datetime_text, figure_text
from config.models import TaskRun
from config.tasks import watch
from config.tasks.watch import STATES, State
from proxy.dashboard.business.tables import UNKNOWN, Cell, Table, count

NEED_SOMEBODY = (State.LATE, State.FAILING)  # and come first


def is_seen_by(user: User | AnonymousUser) -> bool:
    return user.has_perm("config.view_taskrun")


def tasks(*, now: datetime, limit: int | None) -> Table:
    found = [(watch.state(run, now=now), run) for run in TaskRun.objects.order_by("name")]
    never_run = sorted(set(watch.scheduled()) - {run.name for _state, run in found})
    rows = [
        *(_row(run, state) for state, run in found if state in NEED_SOMEBODY),
        *([Cell(name, name), Cell(_("not run yet"), "", is_bad=True), *[UNKNOWN] * 4] for name in never_run),
        *(_row(run, state) for state, run in found if state not in NEED_SOMEBODY),
    ]
    columns = [
        _("Task"),
        _("State"),
        _("Last success"),
        _("Duration, s"),
        _("Lag, s"),
        _("Failures in a row"),
    ]
    shown = rows[:limit]
    return Table("tasks", _("Tasks"), columns, shown, more=len(rows) - len(shown))


def _row(run: TaskRun, state: State) -> list[Cell]:
    url = reverse("admin:config_taskrun_change", args=[quote(run.name)])
    is_bad = state in NEED_SOMEBODY
    return [
        Cell(run.name, run.name, url),
        Cell(str(STATES[state]), state.value, url, is_bad=is_bad),
        _time(run.succeeded_at, url),
        _seconds(run.seconds, url),
        _seconds(run.lag_seconds, url),
        count(run.failures_in_row, url, is_bad=True),
    ]


def _time(moment: datetime | None, url: str) -> Cell:
    if moment is None:
        return UNKNOWN
    return Cell(datetime_text(moment, language=get_language()), moment.isoformat(), url)


def _seconds(seconds: float | None, url: str) -> Cell:
    if seconds is None:
        return UNKNOWN
    return Cell(figure_text(f"{seconds:,.2f}", language=get_language()), f"{seconds:.3f}", url)
