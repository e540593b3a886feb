"""/v1/manage/keys: an account's keys, listed, made, changed, replaced and revoked by an admin key."""

from functools import partial

from keys.reading import State
from proxy import own_keys
from proxy.api import fields
from proxy.api.manage import changes, shown, threads
from proxy.api.manage.repeats import Answer
from proxy.api.manage.view import READ, ManageView, allowed, refusals_told, reply
from proxy.errors import APIError
from proxy.http.request import APIRequest
from proxy.http.responses import Reply

PAGE, PAGE_MAX = 100, 1_000
ID_MAX_DIGITS = 18  # of what the database counts with
QUERY = frozenset({"limit", "after", "state", "lang"})


class Keys(ManageView):
    """GET /v1/manage/keys: the keys, newest first. POST: a new one."""

    async def get(self, request: APIRequest) -> Reply:
        key = allowed(request, READ)
        query = request.query
        if unknown := query.keys() - QUERY:
            name = min(unknown)[:100]
            raise APIError("invalid_value", param=name, message=f'There is no parameter "{name}".')
        limit, states = _limit(query.get("limit")), _states(query.get("state"))
        before = _cursor(query.get("after"))
        found = await threads.run(
            partial(own_keys.page, user_id=key.user_id, limit=limit + 1, before=before, states=states)
        )
        page = [shown.key(own) for own in found[:limit]]
        body = {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(found) > limit,
        }
        return reply(Answer(body))

    head = get

    async def post(self, request: APIRequest) -> Reply:
        answer = await self.change(request, changes.creation)
        return reply(answer, Location=f"/v1/manage/keys/{answer.body['id']}")


class Key(ManageView):
    """GET, PATCH and DELETE /v1/manage/keys/{id}."""

    async def get(self, request: APIRequest, key_id: str) -> Reply:
        admin = allowed(request, READ)
        with refusals_told():
            own = await threads.run(partial(own_keys.one, user_id=admin.user_id, key_id=_of(key_id)))
        return reply(Answer(shown.key(own)))

    head = get

    async def patch(self, request: APIRequest, key_id: str) -> Reply:
        prepare = partial(changes.amendment, _of(key_id), request.header(b"if-match"))
        return reply(await self.change(request, prepare))

    async def delete(self, request: APIRequest, key_id: str) -> Reply:
        prepare = partial(changes.revocation, _of(key_id), request.header(b"if-match"))
        return reply(await self.change(request, prepare))


class Rotate(ManageView):
    """POST /v1/manage/keys/{id}/rotate: a new key in place of one that goes on for a while."""

    async def post(self, request: APIRequest, key_id: str) -> Reply:
        prepare = partial(changes.rotation, _of(key_id), request.header(b"if-match"))
        answer = await self.change(request, prepare)
        return reply(answer, Location=f"/v1/manage/keys/{answer.body['id']}")


def _of(key_id: str) -> int:
    """The id in an address. Raises APIError key_not_found."""
    if (number := _whole(key_id)) is None:
        raise APIError("key_not_found")
    return number


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    number = _whole(text)
    if number is None or not 1 <= number <= PAGE_MAX:
        raise fields.invalid("limit", f"a whole number from 1 to {PAGE_MAX:,}")
    return number


def _cursor(text: str | None) -> int | None:
    if text is None:
        return None
    number = _whole(text)
    if number is None:
        raise fields.invalid("after", "the last_id of the page before")
    return number


def _states(text: str | None) -> set[State]:
    names = [] if text is None else text.split(",")
    if not set(names) <= shown.STATES.keys():
        raise fields.invalid("state", f"some of {', '.join(shown.STATES)}, with commas")
    return {shown.STATES[name] for name in names}


def _whole(text: str) -> int | None:
    """Digits alone, and no more of them than the database counts with."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= ID_MAX_DIGITS else None
