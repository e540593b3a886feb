"""Bodies: one JSON object, whatever the Content-Type says (facts of the SDKs; the contract names none)."""

from typing import IO, Any

from rest_framework.parsers import BaseParser

from proxy.completion_request import Payload, read_payload


class JSONObjectParser(BaseParser):
    media_type = "*/*"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Payload:  # type: ignore[override]
        """Raises APIError invalid_json."""
        return read_payload(stream.read())
