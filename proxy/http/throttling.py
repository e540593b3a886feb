"""The key's limits as a DRF throttle, awaited: per minute, per day and at once, its own and its account's."""

from typing import Any

from django.conf import settings
from prometheus_client import Counter
from rest_framework.throttling import BaseThrottle

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.errors import APIError, daily_limit_exceeded, rate_limited, request_exceeds_limit
from proxy.http.request import APIRequest
from proxy.limits import bounds
from proxy.limits.admission import REFUSED_BY, Admission
from proxy.limits.intake import max_bytes, max_refusals

HIT = Counter(
    "hamiran_limits_hit",
    "Requests that a limit refused; `model` is that of a model's own limits",
    ["limit", "limit_of", "model"],
)
OF_ACCOUNT = 2  # of the numbers of windows; those of a model come after it


class KeyThrottle(BaseThrottle):
    """Counts a request with the `view.prompt_estimate` tokens that it is thought to have; says so in its headers.

    Asked twice about a request, the first time before its body is read, it counts that once and then its tokens, and
    what of them the limits of `view.limited_model` say.
    What it lets in has to be ended (`Limiter.finish`), with the true number of tokens.
    """

    async def allow_request(self, request: APIRequest, view: Any) -> bool:  # type: ignore[override]
        """True. Raises APIError rate_limit_exceeded with the true wait."""
        key = request.key
        limits, ceiling = bounds.limits(key), bounds.ceiling(key)
        of_model = bounds.of_model(key, view.limited_model) if key.models else None
        is_counted, request.is_counted = request.is_counted, False
        admission = await runtime.current().limiter.admit(
            user_id=key.user_id,
            key_id=key.key_id,
            request_id=request.id_text,
            limits=limits,
            ceiling=ceiling,
            tokens=view.prompt_estimate,
            is_counted=is_counted,
            of_model=of_model,
        )
        request.extra_headers.update(view.limit_headers(admission, limits, of_model))
        if admission.retry_after_ms:
            raise refused(admission, key, model=view.limited_model)
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


def refused(admission: Admission, key: KeyIdentity, *, model: str) -> APIError:
    """Which limit refused, in figures for programs as well. Counts it."""
    windows, limit = divmod(admission.refused_by, 10)
    of_model = windows > OF_ACCOUNT
    facts: dict[str, Any] = {
        "limit": REFUSED_BY[limit],
        "limit_of": "key" if windows % 2 else "account",
        "limited_model": model if of_model else None,
    }
    HIT.labels(facts["limit"], facts["limit_of"], facts["limited_model"] or "").inc()
    wait = None if admission.retry_after_ms < 0 else admission.retry_after_ms / 1000
    if wait is None:
        return request_exceeds_limit(facts)
    if admission.refused_by_day:
        return daily_limit_exceeded(wait, facts)
    return rate_limited(wait, facts=facts)


def release(request: APIRequest, key: KeyIdentity) -> None:
    """Ends a request that was let in and came to nothing: it keeps its place in the window and no tokens."""
    if request.is_counted:
        runtime.current().limiter.finish(
            user_id=key.user_id,
            key_id=key.key_id,
            request_id=request.id_text,
            estimate=0,
            tokens=0,
            counted=bounds.counted(key),
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
