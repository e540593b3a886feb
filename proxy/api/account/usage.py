"""GET /v1/usage: what was used in some days of Tehran, by the groups asked for; this moment's included."""

from datetime import date, datetime, time, timedelta
from typing import Any

import jdatetime
from django.utils import timezone

from accounts.shared import days
from accounts.shared.formats import TEHRAN
from proxy import runtime
from proxy.api import fields
from proxy.api.account import cursors
from proxy.api.account.figures import toman
from proxy.api.account.view import AccountGet
from proxy.http.request import APIRequest
from proxy.usage import reading, sums
from proxy.usage.reading import KeyHint
from proxy.usage.sums import GROUPS, Sum

PAGE, PAGE_MAX = 100, 1_000
DEFAULT_DAYS, DAYS_MAX, DAYS_BY_HOUR_MAX = 30, 366, 31


class Usage(AccountGet):
    tells_project_keys = True  # of the project

    async def answer(self, request: APIRequest, **arguments: Any) -> object:
        query = request.query
        groups = _groups(query)
        first, last = _days(query, by_hour="hour" in groups)
        limit = fields.number_in_query(query, "limit", maximum=PAGE_MAX, default=PAGE)
        asked = [*groups, first.isoformat(), last.isoformat()]
        after = cursors.read(query.get("after"), asked=asked, kinds=groups)
        async with runtime.current().reading() as connection:
            found = await sums.read(
                connection,
                user_id=request.user_id,
                project_id=None if request.admin is not None else request.key.project_id,
                since=_midnight(first),
                until=_midnight(last + timedelta(days=1)),
                groups=groups,
                after=after,
                limit=limit + 1,
            )
            keys = await reading.key_hints(connection, user_id=request.user_id) if "key" in groups else {}
        has_more = len(found) > limit
        return {
            "object": "list",
            "from": first.isoformat(),
            "to": last.isoformat(),
            "data": [_told(each, groups, keys) for each in found[:limit]],
            "has_more": has_more,
            "next_after": cursors.written(found[limit - 1].groups, asked=asked) if has_more else None,
        }


def _groups(query: dict[str, str]) -> tuple[str, ...]:
    asked = tuple(
        dict.fromkeys(name.strip() for name in query.get("group_by", "").split(",") if name.strip())
    )
    if unknown := [name for name in asked if name not in GROUPS]:
        raise fields.invalid("group_by", f"some of {', '.join(GROUPS)}; {unknown[0][:40]!r} is none of them")
    if {"hour", "user"} <= set(asked):
        raise fields.invalid("group_by", "without hour where it has user: usage by user is kept by day")
    return asked


def _days(query: dict[str, str], *, by_hour: bool) -> tuple[date, date]:
    """The first and the last day. Raises APIError."""
    last = _day(query, "to") or timezone.now().astimezone(TEHRAN).date()
    first = _day(query, "from") or last - timedelta(days=DEFAULT_DAYS - 1)
    if first > last:
        raise fields.invalid("from", 'a day that is not after "to"')
    most = DAYS_BY_HOUR_MAX if by_hour else DAYS_MAX
    if (last - first).days >= most:
        raise fields.invalid("from", f'at most {most} days before "to", both included')
    return first, last


def _day(query: dict[str, str], name: str) -> date | None:
    if name not in query:
        return None
    try:
        return days.read(query[name])
    except ValueError:
        raise fields.invalid(name, "a day such as 2026-11-30 or 1405-09-09") from None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=TEHRAN)


def _told(each: Sum, groups: tuple[str, ...], keys: dict[int, KeyHint]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in zip(groups, each.groups, strict=True):
        told |= _group(name, value, each.hint, keys)
    figures = each.figures
    return {
        **told,
        "requests": figures.requests,
        "errors": figures.errors,
        "prompt_tokens": figures.prompt_tokens,
        "cached_tokens": figures.cached_tokens,
        "completion_tokens": figures.completion_tokens,
        "total_tokens": figures.prompt_tokens + figures.completion_tokens,
        "cost_toman": toman(figures.cost_micro),
        "cost_micro": figures.cost_micro,
    }


def _group(name: str, value: Any, hint: str, keys: dict[int, KeyHint]) -> dict[str, Any]:
    match name:
        case "day":
            day = value.astimezone(TEHRAN).date()
            jalali = jdatetime.date.fromgregorian(date=day)
            return {"day": day.isoformat(), "jalali_day": jalali.strftime("%Y-%m-%d")}
        case "hour":
            return {"hour": value.astimezone(TEHRAN).isoformat()}
        case "key":
            return {"key": {"id": value, **_key(keys.get(value))}}
        case "user":
            return {"user": {"digest": value.hex(), "hint": hint} if value else None}
        case _:
            return {name: value}


def _key(hint: KeyHint | None) -> dict[str, str | None]:
    if hint is None:
        return {"name": None, "hint": None}
    return {"name": hint.name, "hint": f"hm-…{hint.last_four}"}
