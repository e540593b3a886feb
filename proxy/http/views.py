"""DRF's APIView for the lean door: its steps, awaited, on requests of our own, with no content negotiation."""

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.parsers import BaseParser
from rest_framework.views import APIView

from keys.lookup import KeyIdentity
from proxy.errors import APIError, rate_limited
from proxy.http import throttling
from proxy.http.authentication import KeyAuthentication
from proxy.http.request import APIRequest
from proxy.http.responses import Reply, error_response
from proxy.http.streaming import EventStream
from proxy.limits.admission import Admission, Limits, ModelBounds
from proxy.wire.exchange import ClientLeft


class AsyncAPIView(APIView):
    """Authenticates with a key, then awaits the method's handler; errors go through EXCEPTION_HANDLER as in DRF.

    A wrong method is refused before the key is looked at, and OPTIONS needs none. A handler that wants the body
    awaits `read_body`, and `check_throttles` once it knows how large the request is. What a key's limits have not
    counted, because it was refused, has a budget of its own: beyond it a request is refused unread.
    """

    authentication_classes: Sequence[type[KeyAuthentication]] = (KeyAuthentication,)
    throttle_classes: Sequence[type[throttling.KeyThrottle]] = ()
    has_refusals = True  # whether that budget is asked and charged

    async def dispatch(self, request: APIRequest, *args: Any, **kwargs: Any) -> Reply | EventStream:  # type: ignore[override]
        self.request = request  # type: ignore[assignment]  # where DRF looks for it when an error is handled
        key: KeyIdentity | None = None
        try:
            if request.method == "OPTIONS":
                return Reply(status=204, headers={"Allow": ", ".join(self.allowed_methods)})
            method = request.method.lower()
            handler = getattr(self, method, None) if method in self.http_method_names else None
            if handler is None:
                raise MethodNotAllowed(request.method)  # noqa: TRY301 - DRF's own way to say it
            await self.perform_authentication(request)
            key = request.auth
            if not self.has_refusals:
                key = None
            if key is not None and (wait_seconds := throttling.refusals_wait_seconds(key)):
                key = None  # not counted once more, or whoever polls would stay shut out for ever
                raise rate_limited(wait_seconds)  # noqa: TRY301 - as everything else is refused
            response: Reply | EventStream = await handler(request, *args, **kwargs)
        except ClientLeft:
            raise
        except Exception as error:
            response = cast(Reply, self.handle_exception(error))
            if key is not None and 400 <= response.status_code < 500 and not request.is_counted:
                throttling.count_refusal(key)
        return response

    async def perform_authentication(self, request: APIRequest) -> None:  # type: ignore[override]
        for authenticator in self.authentication_classes:
            _user, request.auth = await authenticator().authenticate(request)

    async def check_throttles(self, request: APIRequest) -> None:  # type: ignore[override]
        for throttle in self.throttle_classes:
            await throttle().allow_request(request, self)

    async def read_body(self, request: APIRequest) -> bytes:
        """The body, under its caps; a large one is counted before it is read. Raises APIError."""
        return await request.read_body(partial(self.may_read, request))

    async def may_read(self, request: APIRequest, more_bytes: int) -> None:
        key = request.key
        throttling.take_bytes(key, more_bytes)
        if request.is_counted:
            return
        try:
            await self.check_throttles(request)
        except BaseException:
            throttling.give_bytes_back(key, more_bytes)
            raise

    def error_reply(self, error: APIError) -> Reply:
        """An error in the shape of the protocol that was called."""
        return error_response(error)

    def limit_headers(
        self, admission: Admission, limits: Limits, of_model: ModelBounds | None
    ) -> Mapping[str, str]:
        """What is left of the key's limits, likewise."""
        return admission.headers(limits, of_model)

    def parse(self, body: bytes) -> Any:
        """What the view's parser makes of a body. Raises APIError."""
        parser: BaseParser = self.parser_classes[0]()
        return parser.parse(io.BytesIO(body))
