"""What a key's requests are measured by: its limits, what all keys of its account may do, and both for a model."""

from functools import lru_cache

from keys.allowances import Allowance, Allowed
from keys.lookup import KeyIdentity
from proxy.limits.admission import ANY_NUMBER, Extent, Limits, ModelBounds, extent


def limits(key: KeyIdentity) -> Limits:
    return Limits(key.rpm, key.tpm, key.concurrency, key.rpd, key.tpd)


def ceiling(key: KeyIdentity) -> Limits:
    """What all keys of the account may do together: never less than this key alone, which may be an exception."""
    of_one = Limits(key.tier_rpm, key.tier_tpm, key.tier_concurrency, key.tier_rpd, key.tier_tpd)
    return _together(of_one, limits(key), key.account_factor)


def of_allowance(allowance: Allowance) -> tuple[Limits, Limits]:
    """Likewise of what the database says of a key: its limits, and those of all keys together."""
    own = Limits(*allowance.of_key)  # type: ignore[arg-type]  # a tier has RPM and TPM
    of_one = Limits(*allowance.of_account)  # type: ignore[arg-type]
    return own, _together(of_one, own, allowance.account_factor)


def of_model(key: KeyIdentity, model: str) -> ModelBounds | None:
    """Both for one model; None: it has no limits of its own."""
    found = key.models.get(model)
    if found is None:
        return None
    return _of_model(model, found.key, found.account, key.account_factor)


def for_model(key: KeyIdentity, model: str) -> Limits:
    """What the key may ask of a model: the lower of its limits and the model's own."""
    own, found = limits(key), of_model(key, model)
    if found is None:
        return own
    rpm, tpm, *rest = (_lower(*each) for each in zip(own, found.limits, strict=True))
    return Limits(rpm or own.rpm, tpm or own.tpm, *rest)


def named(each: Limits) -> dict[str, int | None]:
    """By the names that the API tells them under; None: any number."""
    return {name: None if limit == ANY_NUMBER else limit for name, limit in each._asdict().items()}


def _lower(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def counted(key: KeyIdentity, model: str = "") -> Extent:
    """What of a request of this key is counted."""
    return extent(limits(key), ceiling(key), of_model(key, model))


@lru_cache(maxsize=10_000)
def _of_model(model: str, key: Allowed, account: Allowed, factor: int) -> ModelBounds:
    own = _whole(key)
    return ModelBounds(model, own, _together(_whole(account), own, factor))


@lru_cache(maxsize=10_000)
def _together(of_one: Limits, own: Limits, factor: int) -> Limits:
    def of_all(each: int | None, alone: int | None) -> int | None:
        if each is None or alone is None:
            return each and each * factor  # nothing limits the key alone, or nothing them all
        return max(each * factor, alone)

    rpm, tpm, *rest = (of_all(each, alone) for each, alone in zip(of_one, own, strict=True))
    assert rpm is not None
    assert tpm is not None
    return Limits(min(rpm, ANY_NUMBER), min(tpm, ANY_NUMBER), *rest)


def _whole(allowed: Allowed) -> Limits:
    rpm, tpm, *rest = allowed
    return Limits(rpm or ANY_NUMBER, tpm or ANY_NUMBER, *rest)
