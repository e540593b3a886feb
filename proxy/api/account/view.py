"""Reads of the account: JSON with an ETag, 600 a minute for each key, apart from the limits of model calls.

With any working key, or with an admin key that has the scope for it.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from keys.models import AdminKey
from proxy.api.manage.view import allowed
from proxy.errors import APIError
from proxy.http import throttling
from proxy.http.authentication import AdminAuthentication
from proxy.http.etags import json_unless_known
from proxy.http.request import APIRequest
from proxy.http.responses import Reply
from proxy.http.views import AsyncAPIView

# A cache of one person may keep it, and has to ask each time whether it still holds.
NOT_SHARED: Mapping[str, str] = {"Cache-Control": "private, no-cache"}


class AccountView(AsyncAPIView):
    """Counts a read once for its key. An error of one is none of the refusals that model calls are bounded by."""

    throttle_classes = (throttling.ReadThrottle,)
    has_refusals = False
    tells_admin_keys = True
    # Those who have a project's key need not know of its owner's account.
    tells_project_keys = False

    async def perform_authentication(self, request: APIRequest) -> None:  # type: ignore[override]
        try:
            await super().perform_authentication(request)
        except APIError as error:
            if error.code != "admin_key_not_allowed" or not self.tells_admin_keys:
                raise
            _user, request.admin = await AdminAuthentication().authenticate(request)
            allowed(request, AdminKey.Scope.READ_USAGE)
        else:
            if request.key.project_id is not None and not self.tells_project_keys:
                raise APIError("project_key_not_allowed")

    async def answer(self, request: APIRequest, **arguments: Any) -> object:
        """What is to be told, in what orjson writes. Raises APIError."""
        raise NotImplementedError

    async def read(self, request: APIRequest, **arguments: Any) -> Reply:
        await self.check_throttles(request)
        content = orjson.dumps(await self.answer(request, **arguments))
        return json_unless_known(request, content, headers=NOT_SHARED)


class AccountGet(AccountView):
    async def get(self, request: APIRequest, **arguments: Any) -> Reply:
        return await self.read(request, **arguments)

    head = get
