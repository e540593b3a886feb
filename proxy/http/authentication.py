"""`Authorization: Bearer hm-…`: the only way to say who you are."""

import asyncio
from typing import ClassVar

import psycopg
import psycopg_pool
from rest_framework.authentication import BaseAuthentication

from keys.lookup import KeyIdentity, TooManyFailures
from proxy import runtime
from proxy.errors import APIError, rate_limited, unavailable
from proxy.http.request import APIRequest

# Whoever tries keys is answered late: a loop of tries then costs next to nothing, and each still gets its 429.
REFUSAL_DELAY_SECONDS = 1.0
DELAYED_MAX = 1_000  # at once; beyond it the answer is immediate
CHALLENGE = {"WWW-Authenticate": "Bearer"}


class KeyAuthentication(BaseAuthentication):
    """DRF's authenticator, awaited: `request.auth` becomes the KeyIdentity."""

    _delayed: ClassVar[int] = 0

    async def authenticate(self, request: APIRequest) -> tuple[None, KeyIdentity]:  # type: ignore[override]
        """Raises APIError missing_api_key, invalid_api_key, rate_limit_exceeded, network_not_allowed,
        service_unavailable.
        """
        scheme, _space, secret = request.header(b"authorization").strip().partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise APIError("missing_api_key", headers=CHALLENGE)
        try:
            identity = await runtime.current().keys.authenticate(
                secret.strip(), address=request.client_address
            )
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
