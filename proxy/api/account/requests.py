"""GET /v1/requests/{id} and POST /v1/requests/lookup: what a call cost, final when its last byte has arrived."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from proxy import runtime
from proxy.api import fields
from proxy.api.account.figures import moment, toman
from proxy.api.account.ids import request_id
from proxy.api.account.view import AccountGet, AccountView
from proxy.errors import APIError
from proxy.http.parsing import JSONObjectParser
from proxy.http.request import APIRequest
from proxy.http.responses import Reply
from proxy.metering.bill import Bill
from proxy.usage import quantities, reading
from proxy.usage.models import UsageRecord
from proxy.usage.reading import KeyHint, Running, Settled

IDS_MAX = 1_000
AT_ONCE = 100  # a thousand, told in one piece, would stop everything else in the process for some 50 ms
IN_PROGRESS = "in_progress"
TIME_ORDERED = 7  # the version of ids whose first 48 bits are milliseconds

Item = TypeVar("Item")

_read_ids = msgspec.json.Decoder(list[str]).decode


class Request(AccountGet):
    tells_project_keys = True  # of the project

    async def answer(self, request: APIRequest, **arguments: Any) -> object:
        wanted = request_id(arguments["request_id"])
        found = await _find(request, [wanted] if wanted else [])
        if not found:
            raise APIError("request_not_found")
        [one] = found.values()
        return one


class Lookup(AccountView):
    parser_classes = (JSONObjectParser,)
    tells_project_keys = True  # of the project

    async def post(self, request: APIRequest) -> Reply:
        return await self.read(request)

    async def answer(self, request: APIRequest, **arguments: Any) -> object:
        payload = self.parse(await self.read_body(request))
        asked, names = (
            list(dict.fromkeys(fields.read(payload.fields, name, _read_ids, WANTED) or ()))
            for name in ("ids", "client_request_ids")
        )
        if not 1 <= len(asked) + len(names) <= IDS_MAX:
            raise fields.invalid("ids" if asked or not names else "client_request_ids", WANTED)
        wanted = {text: request_id(text) for text in asked}
        found = await _find(request, list({each for each in wanted.values() if each}))
        by_client = await _find_by_client(request, names)
        named = {one["client_request_id"] for one in by_client}
        listed = [found[each] for each in dict.fromkeys(wanted.values()) if each in found]
        known = {one["id"] for one in listed}
        return {
            "object": "list",
            "data": [*listed, *(one for one in by_client if one["id"] not in known)],
            "not_found": [
                *(text for text, each in wanted.items() if each not in found),
                *(name for name in names if name not in named),
            ],
        }


WANTED = f"an array of 1 to {IDS_MAX:,} ids"


async def _find(request: APIRequest, ids: list[uuid.UUID]) -> dict[uuid.UUID | None, dict[str, Any]]:
    told: dict[uuid.UUID | None, dict[str, Any]] = {}
    for batch in _batches(ids, AT_ONCE):
        async with runtime.current().reading() as connection:
            found = await reading.find(connection, user_id=request.user_id, ids=batch)
        told |= {each: _told(each, state) for each, state in found.items() if _is_for(request, state)}
    return told


async def _find_by_client(request: APIRequest, names: list[str]) -> list[dict[str, Any]]:
    # A zero character is in no text of the database.
    names, told = [name for name in names if "\0" not in name], []
    for batch in _batches(names, AT_ONCE // reading.NEWEST_OF_CLIENT_ID):
        async with runtime.current().reading() as connection:
            found = await reading.find_by_client_ids(connection, user_id=request.user_id, names=batch)
        told += [_told(state.record.id, state) for state in found if _is_for(request, state)]
    return told


def _batches(whole: list[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def _is_for(request: APIRequest, state: Running | Settled) -> bool:
    """A project's key reads of its project alone. What runs is known by its id to nobody but those who began it."""
    if request.admin is not None or request.key.project_id is None or isinstance(state, Running):
        return True
    return state.record.project_id == request.key.project_id


def _told(request_id: uuid.UUID, state: Running | Settled) -> dict[str, Any]:
    if isinstance(state, Running):
        return {
            "id": request_id.hex,
            "object": "request",
            "status": IN_PROGRESS,
            "started_at": moment(_began(request_id) or state.held_at),
            "held_toman": toman(state.held_micro),
            "held_micro": state.held_micro,
        }
    record = state.record
    return {
        "id": request_id.hex,
        "object": "request",
        "status": record.outcome,
        "http_status": record.status,
        "endpoint": record.endpoint,
        "model": record.model,
        "stream": record.stream,
        "client_request_id": record.client_request_id or None,
        "end_user": record.end_user_hint or None,
        "key": state.key and _key(state.key),
        "usage": {
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "total_tokens": record.prompt_tokens + record.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": record.cached_tokens},
            "cost_details": _cost_details(state),
        },
        "cost_toman": toman(record.cost_micro),
        "cost_micro": record.cost_micro,
        "billed_by": record.billed_by,
        "started_at": moment(
            _began(request_id) or record.created_at - timedelta(milliseconds=record.total_ms)
        ),
        "ended_at": moment(record.created_at),
        "first_byte_ms": record.first_byte_ms,
        "total_ms": record.total_ms,
    }


def _began(request_id: uuid.UUID) -> datetime | None:
    if request_id.version != TIME_ORDERED:
        return None
    return datetime.fromtimestamp((request_id.int >> 80) / 1000, UTC)


def _key(key: KeyHint) -> dict[str, str]:
    return {"name": key.name, "hint": f"hm-…{key.last_four}"}


def _cost_details(settled: Settled) -> dict[str, Any]:
    """What was paid for, component by component, as in the answer itself."""
    record = settled.record
    if record.billed_by == UsageRecord.BilledBy.NOTHING:
        return {}
    usage, units = quantities.read(
        prompt_tokens=record.prompt_tokens,
        cached_tokens=record.cached_tokens,
        completion_tokens=record.completion_tokens,
        further=record.quantities,
    )
    return Bill(usage, settled.price, record.cost_micro, units).cost_details()
