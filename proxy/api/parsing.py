"""Bodies: one JSON object, whatever the Content-Type says (facts of the SDKs; the contract names none)."""

from typing import IO, Any

from rest_framework.parsers import BaseParser

from proxy import json_bounds
from proxy.completion_request import Payload, read_payload
from proxy.errors import APIError


class JSONObjectParser(BaseParser):
    media_type = "*/*"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Payload:  # type: ignore[override]
        """Raises APIError invalid_json, request_too_large."""
        body = stream.read()
        try:
            json_bounds.check(body)
        except json_bounds.TooDeep:
            raise APIError("invalid_json", detail="nested too deeply") from None
        except json_bounds.TooMany:
            raise APIError(
                "request_too_large", message="The request body has too many JSON values."
            ) from None
        return read_payload(body)
