"""Ids of requests and transactions as clients have them: from a header, a page, or with a prefix. Pure."""

import re
from uuid import UUID

HEX = r"[0-9a-fA-F]"
ID = re.compile(
    rf"(?:[a-z]{{1,10}}[_-])?({HEX}{{8}})-?({HEX}{{4}})-?({HEX}{{4}})-?({HEX}{{4}})-?({HEX}{{12}})"
)


def request_id(text: str) -> UUID | None:
    """None: no id of ours looks like this.

    >>> request_id("req_0198c0de00007000800000000000abcd") == request_id("0198c0de-0000-7000-8000-00000000ABCD")
    True
    >>> request_id("chatcmpl-9Xk2")
    """
    found = ID.fullmatch(text.strip())
    return UUID("".join(found.groups())) if found else None
