"""DRF's APIView for the lean door: its steps, awaited, without the content negotiation that JSON needs not."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.views import APIView

from proxy.api.authentication import KeyAuthentication
from proxy.handler import APIRequest, ClientDisconnected


class AsyncAPIView(APIView):
    """Authenticates with a key, then awaits the method's handler; errors go through EXCEPTION_HANDLER as in DRF.

    A wrong method is refused before the key is looked at, and OPTIONS needs none.
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
            for authenticator in wrapped.authenticators or ():
                wrapped.user, wrapped.auth = await authenticator.authenticate(wrapped)  # type: ignore[misc]
            response: HttpResponseBase = await handler(wrapped, *args, **kwargs)
        except ClientDisconnected:
            raise
        except Exception as error:
            return self.handle_exception(error)
        return response
