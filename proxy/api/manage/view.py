"""What the management endpoints share: an admin key, its scopes and its pace, and changes that are made once."""

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from django.utils import timezone

from keys import lifecycle, reading
from keys.actors import Actor, Kind
from keys.admin_lookup import AdminIdentity
from keys.lifecycle import NoNewKeys, TooManyToday
from keys.models import AdminKey
from proxy.api.manage import repeats, threads
from proxy.api.manage.repeats import Answer, Asked
from proxy.errors import APIError, rate_limited
from proxy.http.authentication import AdminAuthentication
from proxy.http.parsing import Fields, JSONObjectParser
from proxy.http.request import APIRequest
from proxy.http.responses import REPLAYED_HEADER, Reply, json_response
from proxy.http.views import AsyncAPIView
from proxy.idempotency import claims
from proxy.limits.intake import PerMinute

PER_MINUTE = 600
READ, WRITE = AdminKey.Scope.READ_KEYS, AdminKey.Scope.WRITE_KEYS

Change = Callable[[int, Actor], Answer]  # of an account, by whom; in a transaction that is open

# What the domain refuses, but for what tells when it may be tried again.
REFUSED: dict[type[Exception], str] = {
    reading.UnknownKey: "key_not_found",
    lifecycle.UnknownProject: "project_not_found",
    lifecycle.KeyEnded: "key_ended",
    lifecycle.StillReplacing: "key_being_replaced",
}


class ManageView(AsyncAPIView):
    """One request of an admin key. Bodies are small, and an empty one is an empty object."""

    authentication_classes = (AdminAuthentication,)  # type: ignore[assignment]
    parser_classes = (JSONObjectParser,)
    limit: ClassVar = PerMinute()  # of this process, by admin key

    async def perform_authentication(self, request: APIRequest) -> None:  # type: ignore[override]
        _user, key = await AdminAuthentication().authenticate(request)
        if wait_seconds := self.limit.wait_seconds(key.admin_key_id, 1, limit=PER_MINUTE):
            raise rate_limited(wait_seconds)
        self.limit.add(key.admin_key_id, 1)
        request.admin = key

    async def may_read(self, request: APIRequest, more_bytes: int) -> None:
        raise APIError("request_too_large")

    async def change(self, request: APIRequest, prepare: Callable[[Fields], Change]) -> Answer:
        """Makes a change once. `prepare` makes of the body what carries it out. Raises APIError."""
        key = allowed(request, WRITE)
        body = await self.read_body(request)
        change = prepare(self.parse(body).fields if body.strip() else {})
        asked = Asked(
            key.admin_key_id,
            claims.key_in(request.every(b"idempotency-key")),
            request.method,
            request.path.rstrip("/"),
            body,
        )
        by = Actor(Kind.ADMIN_KEY, admin_key_id=key.admin_key_id, address=_address(request.client_address))

        def work() -> Answer:
            with refusals_told():
                return repeats.once(asked, lambda: change(key.user_id, by))

        return await threads.run(work)


def allowed(request: APIRequest, scope: AdminKey.Scope) -> AdminIdentity:
    """The admin key of a request. Raises APIError insufficient_scope."""
    key = request.admin
    assert key is not None, "a view asks after its request is authenticated"
    if not key.may(scope):
        message = f"This admin key lacks the scope {scope.value} that the request needs."
        raise APIError("insufficient_scope", message=message)
    return key


def reply(answer: Answer, **headers: str) -> Reply:
    response = json_response(answer.body, status=answer.status)
    response.headers.update({"Cache-Control": "no-store", **headers})
    if "etag" in answer.body:
        response.headers["ETag"] = answer.body["etag"]
    if answer.is_repeat:
        response.headers[REPLAYED_HEADER] = "true"
    return response


@contextmanager
def refusals_told() -> Iterator[None]:
    """What the domain refuses in here becomes what the API says of it. Raises APIError."""
    try:
        yield
    except tuple(REFUSED) as error:
        raise APIError(REFUSED[type(error)]) from None
    except lifecycle.TooManyKeys:
        message = (
            f"This account has {lifecycle.MAX_ACTIVE_KEYS:,} active keys, which is the most it can have."
        )
        raise APIError("too_many_keys", message=message) from None
    except TooManyToday as error:
        raise rate_limited((error.until - timezone.now()).total_seconds()) from None
    except NoNewKeys as error:
        message = (
            "The mobile number of this account was changed a short time ago, so no new key is given out before "
            f"{error.until.isoformat(timespec='seconds')}."
        )
        raise APIError("no_new_keys", message=message) from None


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:  # a Unix socket has none
        return None
