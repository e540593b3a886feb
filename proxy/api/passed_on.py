"""What requests have in common that go to upstreams of their own protocol alone, as their clients wrote them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from proxy.catalogue.served import ServedRoute
from proxy.http.parsing import Fields
from proxy.upstreams.protocols import UpstreamProtocol


class PassedOn:
    """As much of a MeteredRequest (proxy/metering/endpoint.py) as follows from that."""

    __slots__ = ()
    protocol: ClassVar[UpstreamProtocol]
    affinity: ClassVar = b""
    conversation: ClassVar = None

    def protocol_for(self, route: ServedRoute) -> UpstreamProtocol:
        return self.protocol

    def upstream_headers(self, route: ServedRoute) -> Mapping[str, str]:
        return {}

    def left_out(self, route: ServedRoute) -> Sequence[str]:
        return ()

    def is_reported_by(self, route: ServedRoute) -> bool:
        return True


def body(fields: Fields, route: ServedRoute, *, without: frozenset[str]) -> dict[str, Any]:
    """A client's fields as a route's upstream is sent them, with the model's name there."""
    sent = route.quirks.sent_on(fields)
    return {name: value for name, value in sent.items() if name not in without} | {
        "model": route.upstream_model
    }
