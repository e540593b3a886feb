"""Which addresses an upstream may have: https on the public Internet, or a host that the operator allowed."""

from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from accounts.shared import outbound
from accounts.shared.outbound import NotPublic, UnsafeURL

URL_MAX_LENGTH = 300  # of Upstream.base_url


def validate_upstream_url(url: str) -> str:
    """The URL without its trailing slash. Asks the resolver, so call it outside a transaction.

    A host in settings.UPSTREAM_ALLOWED_HOSTS may be private and without TLS. Raises UnsafeURL.
    """
    try:
        outbound.check(url, allowed_hosts=settings.UPSTREAM_ALLOWED_HOSTS, max_length=URL_MAX_LENGTH)
    except NotPublic as error:
        if not error.is_known:
            raise UnsafeURL(_("The host %(host)s cannot be resolved.") % {"host": error.host}) from None
        raise UnsafeURL(
            _("The host %(host)s has a private address; allow it in UPSTREAM_ALLOWED_HOSTS.")
            % {"host": error.host}
        ) from None
    if "?" in url or "#" in url:
        raise UnsafeURL(_("The URL must not contain a query or a fragment."))
    return url.rstrip("/")


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of a URL: the server that a key is sent to. The key stays with it."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
