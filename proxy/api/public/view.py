"""JSON that needs no key: any page of any origin may read it, and caches may keep it for a minute."""

from collections.abc import Mapping
from typing import Any, ClassVar

from accounts.shared.address_limit import AddressLimit
from proxy.api.public.kept import Document
from proxy.errors import rate_limited
from proxy.http.etags import json_unless_known
from proxy.http.request import APIRequest
from proxy.http.responses import Reply
from proxy.http.streaming import EventStream
from proxy.http.views import AsyncAPIView

# Of all public documents together, in each process. Refusing costs what answering does, so nobody is made to wait.
PER_MINUTE = 600
CACHED: Mapping[str, str] = {"Cache-Control": "public, max-age=60"}
ANY_PAGE: Mapping[str, str] = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "etag, x-request-id, retry-after",
}
PREFLIGHT: Mapping[str, str] = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "*, authorization",  # whatever a page sends along is not looked at
    "Access-Control-Max-Age": "7200",
}


class PublicView(AsyncAPIView):
    """GET of one document."""

    authentication_classes = ()
    limit: ClassVar = AddressLimit(per_minute=PER_MINUTE)

    async def document(self, request: APIRequest) -> Document:
        """Raises APIError."""
        raise NotImplementedError

    async def dispatch(self, request: APIRequest, *args: Any, **kwargs: Any) -> Reply | EventStream:  # type: ignore[override]
        request.extra_headers.update(ANY_PAGE)
        response = await super().dispatch(request, *args, **kwargs)
        if request.method == "OPTIONS" and isinstance(response, Reply):
            response.headers.update(PREFLIGHT)
        return response

    async def get(self, request: APIRequest) -> Reply:
        address = request.client_address
        if wait_seconds := self.limit.wait_seconds(address):
            raise rate_limited(wait_seconds)
        self.limit.count(address)
        document = await self.document(request)
        return json_unless_known(request, document.content, etag=document.etag, headers=CACHED)

    head = get
