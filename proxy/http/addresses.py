"""Mends what SDKs make of a base URL with a query: they put the endpoint behind it. Pure.

Of `https://host/v1?lang=fa`, openai-python 3.54 makes `/v1/?lang=fachat/completions` and openai-node
`/v1?lang=fa/chat/completions`; of `https://host?lang=fa`, anthropic 2.14 makes `/?lang=fa/v1/messages`.
"""

import re
from urllib.parse import unquote

BASES = frozenset({"/", "/v1", "/v1/"})
# Only what SDKs call: nothing that an operator may have shut at a proxy in front by its path.
_ENDPOINT = re.compile(
    r"(?P<lang>lang=[a-z]{2})(?:/(?P<root>v1/))?/?"
    r"(?P<endpoint>(?:chat|completions|responses|messages|embeddings|moderations|images|audio|models)\b[^?&]*)"
    r"(?:[?&](?P<query>.*))?",
    re.DOTALL,
)


def mended(path: str, query: bytes) -> tuple[str, bytes]:
    """The path, one of BASES, and the query, as they were meant."""
    found = _ENDPOINT.fullmatch(unquote(query.decode("latin-1")))
    if found is None or bool(found["root"]) != (path == "/"):
        return path, query
    meant = "&".join(part for part in (found["lang"], found["query"]) if part)
    return f"/v1/{found['endpoint']}", meant.encode()
