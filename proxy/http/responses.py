"""How whole answers leave: JSON, errors, and the header that says what an answer cost."""

from typing import Any

import orjson
from django.http import HttpResponse
from rest_framework.exceptions import MethodNotAllowed

from proxy.errors import APIError, failed

COST_HEADER = "x-hamiran-cost-toman"


def json_response(body: object, *, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json")


def error_response(error: APIError) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(error.body()),
        status=error.status,
        content_type="application/json",
        headers=error.headers,
    )


def exception_handler(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's EXCEPTION_HANDLER: whatever a view raises becomes one of the contract's errors."""
    if isinstance(exc, APIError):
        return error_response(exc)
    if isinstance(exc, MethodNotAllowed):
        allowed = ", ".join(context["view"].allowed_methods)
        return error_response(APIError("method_not_allowed", headers={"Allow": allowed}))
    return error_response(failed(exc, request_id=getattr(context.get("request"), "id", None)))
