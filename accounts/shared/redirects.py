"""Where a `next` parameter may lead: to a page of this site, by its path."""

from django.utils.http import url_has_allowed_host_and_scheme


def local_path(candidate: str | None, *, default: str) -> str:
    """`candidate` when it is a path of this site, else `default`."""
    if (
        candidate
        and candidate.startswith("/")
        and url_has_allowed_host_and_scheme(candidate, allowed_hosts=None)
    ):
        return candidate
    return default
