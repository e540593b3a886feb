"""Who asks: `Authorization: Bearer hm-…`, or the same key in `x-api-key`, as clients of Anthropic send it."""

import asyncio
from typing import ClassVar

import psycopg
import psycopg_pool
from rest_framework.authentication import BaseAuthentication

from keys.lookup import KeyIdentity, TooManyFailures
from keys.secret import has_valid_checksum
from proxy import runtime
from proxy.errors import APIError, rate_limited, unavailable
from proxy.http.request import APIRequest

# Whoever tries keys is answered late: a loop of tries then costs next to nothing, and each still gets its 429.
REFUSAL_DELAY_SECONDS = 1.0
DELAYED_MAX = 1_000  # at once; beyond it the answer is immediate
# Claude Code repeats a 401 for three minutes, unless it is told not to.
CHALLENGE = {"WWW-Authenticate": "Bearer", "x-should-retry": "false"}


class KeyAuthentication(BaseAuthentication):
    """DRF's authenticator, awaited: `request.auth` becomes the KeyIdentity."""

    _delayed: ClassVar[int] = 0

    async def authenticate(self, request: APIRequest) -> tuple[None, KeyIdentity]:  # type: ignore[override]
        """Raises APIError missing_api_key, invalid_api_key, rate_limit_exceeded, network_not_allowed,
        service_unavailable.
        """
        secret = _secret(request)
        try:
            identity = await runtime.current().keys.authenticate(secret, address=request.client_address)
        except TooManyFailures as error:
            await self._delay()
            raise rate_limited(error.wait_seconds) from None
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            raise unavailable() from error
        if identity is None:
            raise APIError("invalid_api_key", headers=CHALLENGE)
        if identity.allowed_networks and not identity.may_come_from(request.client_address):
            raise APIError("network_not_allowed")
        return None, identity

    @classmethod
    async def _delay(cls) -> None:
        if cls._delayed >= DELAYED_MAX:
            return
        KeyAuthentication._delayed += 1
        try:
            await asyncio.sleep(REFUSAL_DELAY_SECONDS)
        finally:
            KeyAuthentication._delayed -= 1


def _secret(request: APIRequest) -> str:
    """The key of a request. Of two, the one that looks like a key counts: some agents send another secret beside it.

    Raises APIError missing_api_key, and invalid_api_key where it cannot be told which one is meant.
    """
    bearers, others = request.every(b"authorization"), request.every(b"x-api-key")
    if len(bearers) > 1 or len(others) > 1:
        raise _ambiguous()
    given = [other.strip() for other in others if other.strip()]
    for bearer in bearers:
        scheme, _space, secret = bearer.strip().partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            given.append(secret.strip())
    if not given:
        raise APIError("missing_api_key", headers=CHALLENGE)
    keys = {secret for secret in given if has_valid_checksum(secret)} if len(given) > 1 else set(given)
    if len(keys) > 1:
        raise _ambiguous()
    return next(iter(keys), given[-1])


def _ambiguous() -> APIError:
    message = "The request has more than one API key. Send one, in Authorization or in x-api-key."
    return APIError("invalid_api_key", message=message, headers=CHALLENGE)
