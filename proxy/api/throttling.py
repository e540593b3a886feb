"""The key's limits as a DRF throttle, awaited: RPM, TPM and requests at once."""

from typing import Any, cast

from rest_framework.throttling import BaseThrottle

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.errors import rate_limited
from proxy.handler import underlying
from proxy.limits import Limits


class KeyThrottle(BaseThrottle):
    """Counts a request with the `view.prompt_estimate` tokens that it is thought to have; says so in its headers.

    What it lets in has to be ended (`Limiter.finish`), with the true number of tokens.
    """

    async def allow_request(self, request: Any, view: Any) -> bool:  # type: ignore[override]
        """True. Raises APIError rate_limit_exceeded with the true wait."""
        key, raw = cast(KeyIdentity, request.auth), underlying(request)
        limits = Limits(key.rpm, key.tpm, key.concurrency)
        admission = await runtime.current().limiter.admit(
            key_id=key.key_id, request_id=raw.id.hex, limits=limits, tokens=view.prompt_estimate
        )
        raw.extra_headers.update(admission.headers(limits))
        if admission.retry_after_ms:
            raise rate_limited(admission.retry_after_ms / 1000 if admission.retry_after_ms > 0 else None)
        return True
