"""Which endpoints there are, and in which protocols of upstreams each can be served. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path`: where customers call it. `protocols`: what upstreams may speak to serve it, the best first."""

    path: str
    protocols: tuple[str, ...]


# By the name that stands in usage records, in `LanguageModel.endpoints` and behind `add_model --endpoints`. A request
# of another protocol than the upstream's is translated; what can be is told by a second protocol here.
ENDPOINTS = {
    "chat": Endpoint("/v1/chat/completions", ("chat",)),
    "responses": Endpoint("/v1/responses", ("responses", "chat")),
    "messages": Endpoint("/v1/messages", ("messages", "chat")),
    "completions": Endpoint("/v1/completions", ("completions",)),
    "embeddings": Endpoint("/v1/embeddings", ("embeddings",)),
    "images": Endpoint("/v1/images/generations", ("images",)),
    "speech": Endpoint("/v1/audio/speech", ("speech",)),
    "transcriptions": Endpoint("/v1/audio/transcriptions", ("transcriptions",)),
    "moderations": Endpoint("/v1/moderations", ("moderations",)),
}
PROTOCOLS = tuple(dict.fromkeys(protocol for each in ENDPOINTS.values() for protocol in each.protocols))
CHAT = "chat"


def serves(endpoint: str, protocols: Collection[str]) -> bool:
    """Whether an upstream that speaks these protocols can serve the endpoint."""
    return any(protocol in protocols for protocol in ENDPOINTS[endpoint].protocols)


def served_by(protocols: Collection[str]) -> list[str]:
    return [endpoint for endpoint in ENDPOINTS if serves(endpoint, protocols)]


def unserved(endpoints: Iterable[str], routes: Iterable[Collection[str]]) -> list[str]:
    """Those endpoints that no route can serve; each route is the protocols that its upstream speaks."""
    spoken = {protocol for protocols in routes for protocol in protocols}
    return [endpoint for endpoint in endpoints if not serves(endpoint, spoken)]


def needs(endpoints: Iterable[str]) -> str:
    """For operators: which protocols would serve these."""
    return "; ".join(f"{name} needs {' or '.join(ENDPOINTS[name].protocols)}" for name in endpoints)


# What a model is served at unless somebody says otherwise, its upstream speaking chat alone.
DEFAULT_ENDPOINTS = served_by({CHAT})
