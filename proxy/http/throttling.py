"""The key's limits as a DRF throttle, awaited: RPM, TPM and requests at once, its own and its account's."""

from typing import Any

from django.conf import settings
from rest_framework.throttling import BaseThrottle

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.errors import rate_limited
from proxy.http.request import APIRequest
from proxy.limits.intake import max_bytes, max_refusals
from proxy.limits.local_window import Limits


class KeyThrottle(BaseThrottle):
    """Counts a request with the `view.prompt_estimate` tokens that it is thought to have; says so in its headers.

    Asked twice about a request, the first time before its body is read, it counts that once and then its tokens.
    What it lets in has to be ended (`Limiter.finish`), with the true number of tokens.
    """

    async def allow_request(self, request: APIRequest, view: Any) -> bool:  # type: ignore[override]
        """True. Raises APIError rate_limit_exceeded with the true wait."""
        key = request.key
        limits = Limits(key.rpm, key.tpm, key.concurrency)
        is_counted, request.is_counted = request.is_counted, False
        admission = await runtime.current().limiter.admit(
            user_id=key.user_id,
            key_id=key.key_id,
            request_id=request.id_text,
            limits=limits,
            ceiling=ceiling(key),
            tokens=view.prompt_estimate,
            is_counted=is_counted,
        )
        request.extra_headers.update(view.limit_headers(admission, limits))
        if admission.retry_after_ms:
            raise rate_limited(admission.retry_after_ms / 1000 if admission.retry_after_ms > 0 else None)
        request.is_counted = True
        return True


class ReadThrottle(KeyThrottle):
    """Counts a read of the account, by a limit of its own."""

    async def allow_request(self, request: APIRequest, view: Any) -> bool:  # type: ignore[override]
        """True. Raises APIError rate_limit_exceeded with the true wait."""
        if request.is_counted:
            return True
        # Admin keys have numbers of their own.
        key_id = -request.admin.admin_key_id if request.admin else request.key.key_id
        wait_seconds = await runtime.current().reads.wait_seconds(
            user_id=request.user_id, key_id=key_id, request_id=request.id_text
        )
        if wait_seconds:
            raise rate_limited(wait_seconds)
        request.is_counted = True
        return True


def ceiling(key: KeyIdentity) -> Limits:
    """What all keys of the account may do together."""
    at_once = key.tier_concurrency
    return Limits(
        key.tier_rpm * key.account_factor,
        key.tier_tpm * key.account_factor,
        at_once and at_once * key.account_factor,
    )


def release(request: APIRequest, key: KeyIdentity) -> None:
    """Ends a request that was let in and came to nothing: it keeps its place in the window and no tokens."""
    if request.is_counted:
        runtime.current().limiter.finish(
            user_id=key.user_id, key_id=key.key_id, request_id=request.id_text, estimate=0, tokens=0
        )


def take_bytes(key: KeyIdentity, amount: int) -> None:
    """Counts what is about to be read of a large body. Raises APIError rate_limit_exceeded with the true wait."""
    taken = runtime.current().intake.bytes
    limit = max_bytes(rpm=key.rpm, tpm=key.tpm, body_max_bytes=settings.BODY_MAX_BYTES)
    if wait_seconds := taken.wait_seconds(key.key_id, amount, limit=limit):
        raise rate_limited(wait_seconds)
    taken.add(key.key_id, amount)


def give_bytes_back(key: KeyIdentity, amount: int) -> None:
    runtime.current().intake.bytes.take_back(key.key_id, amount)


def refusals_wait_seconds(key: KeyIdentity) -> float:
    """0 while the key has had few enough requests refused."""
    return runtime.current().intake.refusals.wait_seconds(key.key_id, 1, limit=max_refusals(key.rpm))


def count_refusal(key: KeyIdentity) -> None:
    runtime.current().intake.refusals.add(key.key_id, 1)
