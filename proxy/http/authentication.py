"""Who asks: `Authorization: Bearer hm-…`, or the same key in `x-api-key`, as clients of Anthropic send it."""

import asyncio
from collections.abc import Callable

import psycopg
import psycopg_pool
from rest_framework.authentication import BaseAuthentication

from keys import admin_lookup
from keys.admin_lookup import AdminIdentity
from keys.lookup import Identity, KeyIdentity, SecretCache, TooManyFailures
from keys.secret import has_valid_admin_checksum, has_valid_checksum
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

    async def authenticate(self, request: APIRequest) -> tuple[None, KeyIdentity]:  # type: ignore[override]
        """Raises APIError missing_api_key, invalid_api_key, admin_key_not_allowed, rate_limit_exceeded,
        network_not_allowed, service_unavailable.
        """
        secret = _secret(request, has_valid_checksum)
        identity = await _look_up(runtime.current().keys, secret, request)
        if identity is None and has_valid_admin_checksum(secret):
            raise APIError("admin_key_not_allowed")
        if identity is None:
            raise APIError("invalid_api_key", headers=CHALLENGE)
        if identity.allowed_networks and not identity.may_come_from(request.client_address):
            raise APIError("network_not_allowed")
        return None, identity


class AdminAuthentication(BaseAuthentication):
    """The same of admin keys, in the same headers: what comes back is the AdminIdentity."""

    async def authenticate(self, request: APIRequest) -> tuple[None, AdminIdentity]:  # type: ignore[override]
        """Raises APIError as KeyAuthentication does, with admin_key_required for a key that calls models."""
        secret = _secret(request, has_valid_admin_checksum)
        process = runtime.current()
        identity = await _look_up(process.admin_keys, secret, request)
        if identity is None and has_valid_checksum(secret):
            raise APIError("admin_key_required")
        if identity is None:
            raise APIError("invalid_api_key", headers=CHALLENGE)
        if not identity.may_come_from(request.client_address):
            raise APIError("network_not_allowed")
        try:
            await admin_lookup.touch(process.database.connection, identity)
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            raise unavailable() from error
        return None, identity


async def _look_up(cache: SecretCache[Identity], secret: str, request: APIRequest) -> Identity | None:
    """Raises APIError rate_limit_exceeded, service_unavailable."""
    try:
        return await cache.authenticate(secret, address=request.client_address)
    except TooManyFailures as error:
        await _delay()
        raise rate_limited(error.wait_seconds) from None
    except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
        raise unavailable() from error


_delayed = 0


async def _delay() -> None:
    global _delayed  # noqa: PLW0603 - of this process
    if _delayed >= DELAYED_MAX:
        return
    _delayed += 1
    try:
        await asyncio.sleep(REFUSAL_DELAY_SECONDS)
    finally:
        _delayed -= 1


def _secret(request: APIRequest, looks_right: Callable[[str], bool]) -> str:
    """The key of a request. Of two, the one that looks right counts: some agents send another secret beside it.

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
    keys = {secret for secret in given if looks_right(secret)} if len(given) > 1 else set(given)
    if len(keys) > 1:
        raise _ambiguous()
    return next(iter(keys), given[-1])


def _ambiguous() -> APIError:
    message = "The request has more than one API key. Send one, in Authorization or in x-api-key."
    return APIError("invalid_api_key", message=message, headers=CHALLENGE)
