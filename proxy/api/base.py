"""DRF's APIView for the lean door: its steps, awaited, without the content negotiation that JSON needs not."""

import io
from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.views import APIView

from proxy.api.authentication import KeyAuthentication
from proxy.handler import APIRequest, ClientDisconnected, underlying


class AsyncAPIView(APIView):
    """Authenticates with a key, then awaits the method's handler; errors go through EXCEPTION_HANDLER as in DRF.

    A wrong method is refused before the key is looked at, and OPTIONS needs none. A handler that wants the body
    awaits `parse`, and `check_throttles` once it knows how large the request is.
    """

    authentication_classes: Sequence[type[KeyAuthentication]] = (KeyAuthentication,)

    async def dispatch(self, request: APIRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.args, self.kwargs = args, kwargs
        self.request = wrapped = Request(request, authenticators=self.get_authenticators())
        self.headers = {}
        try:
            if request.method == "OPTIONS":
                return HttpResponse(status=204, headers={"Allow": ", ".join(self.allowed_methods)})
            method = str(request.method).lower()
            handler = getattr(self, method, None) if method in self.http_method_names else None
            if handler is None:
                raise MethodNotAllowed(str(request.method))  # noqa: TRY301 - DRF's own way to say it
            await self.perform_authentication(wrapped)
            response: HttpResponseBase = await handler(wrapped, *args, **kwargs)
        except ClientDisconnected:
            raise
        except Exception as error:
            return self.handle_exception(error)
        return response

    async def perform_authentication(self, request: Request) -> None:  # type: ignore[override]
        for authenticator in request.authenticators or ():
            request.user, request.auth = await authenticator.authenticate(request)  # type: ignore[misc]

    async def check_throttles(self, request: Request) -> None:  # type: ignore[override]
        for throttle in self.get_throttles():
            await throttle.allow_request(request, self)  # type: ignore[misc]

    async def parse(self, request: Request) -> Any:
        """The body, read under its caps and parsed by the view's parser. Raises APIError."""
        parser: BaseParser = self.parser_classes[0]()
        return parser.parse(io.BytesIO(await underlying(request).read_body()))
