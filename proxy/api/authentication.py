"""`Authorization: Bearer hm-…`: the only way to say who you are."""

import psycopg
import psycopg_pool
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.completions import unavailable
from proxy.errors import APIError
from proxy.handler import underlying

CHALLENGE = {"WWW-Authenticate": "Bearer"}


class KeyAuthentication(BaseAuthentication):
    """DRF's authenticator, awaited: `request.auth` becomes the KeyIdentity."""

    async def authenticate(self, request: Request) -> tuple[None, KeyIdentity]:  # type: ignore[override]
        """Raises APIError missing_api_key, invalid_api_key, service_unavailable."""
        scheme, _space, secret = underlying(request).header(b"authorization").strip().partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise APIError("missing_api_key", headers=CHALLENGE)
        try:
            identity = await runtime.current().keys.authenticate(secret.strip())
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            raise unavailable() from error
        if identity is None:
            raise APIError("invalid_api_key", headers=CHALLENGE)
        return None, identity
