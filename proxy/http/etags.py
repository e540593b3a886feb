"""Answers that are not sent again to a client that has them: ETag and If-None-Match (RFC 9110, 13.1.2)."""

from collections.abc import Mapping
from hashlib import sha256

from proxy.http.request import APIRequest
from proxy.http.responses import JSON, Reply


def etag_of(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()[:32]}"'


def json_unless_known(
    request: APIRequest, content: bytes, *, etag: str = "", headers: Mapping[str, str] | None = None
) -> Reply:
    """JSON with its ETag, or 304 where the client names that. `etag`: where it is known already."""
    etag = etag or etag_of(content)
    told = {**(headers or {}), "ETag": etag}
    if _is_known(etag, request.header(b"if-none-match")):
        return Reply(status=304, headers=told)
    return Reply(content, content_type=JSON, headers=told)


def _is_known(etag: str, named: str) -> bool:
    names = [name.strip().removeprefix("W/") for name in named.split(",")]
    return etag in names or names == ["*"]
