"""The protocols in which upstreams are asked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpstreamProtocol:
    """`path` stands behind an upstream's base URL; `name` in the log."""

    name: str
    path: str


CHAT = UpstreamProtocol("chat", "/chat/completions")
