"""What metering asks of an endpoint, and nothing else of it.

An endpoint is a folder of proxy/api/. It reads a client's body into a MeteredRequest; admission, holds, attempts,
relay and settlement are the same for all.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from proxy.catalogue.prices.pricing import Units, Usage
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.errors import APIError
from proxy.metering.bill import Bill
from proxy.metering.reported_usage import Report
from proxy.upstreams.errors import status_of
from proxy.upstreams.protocols import UpstreamProtocol
from proxy.wire.form import FormBody


class BadAnswer(Exception):
    """Upstream answered something that is no usable answer.

    `error` and `status` are an error's own, where one was told in words. The reason never repeats them: they may
    quote a prompt.
    """

    def __init__(self, reason: str, *, error: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.error = error or {}
        self.status = status_of(self.error) if isinstance(self.error.get("message"), str) else None


class Size(Protocol):
    """How much an answer is, in what its model charges per: tokens, characters."""

    @property
    def units(self) -> Units | None:
        """The pieces that it shows to have been made, where it does: these are billed in place of those asked for."""

    @property
    def estimate(self) -> int:
        """Near the truth, and 0 only for nothing: billed where upstream reports nothing."""

    @property
    def at_least(self) -> int:
        """Never above the truth: a report below it is none."""

    @property
    def at_most(self) -> int:
        """Never below the truth, of what can be seen."""


class WholeAnswer(Protocol):
    """An answer that came as one, as its endpoint reads it."""

    @property
    def report(self) -> Report | None: ...

    @property
    def size(self) -> Size: ...

    def for_customer(self, bill: Bill) -> bytes:
        """The body to deliver. Cannot fail: it is paid for by then."""


class StreamedAnswer(Protocol):
    """A streamed answer on its way through, as its endpoint reads it.

    `begun`: a part of the answer itself has come, no mere sign of life; `finished`: all of it has; `done`: nothing
    more is read. Once `failure` says why this is no usable answer, nothing more is read either; `broke_off` is one of
    them. `said_something` counts the events that were no mere sign of life. `is_final`: the report is upstream's last
    word. `is_cut`: ended here, at what is paid for. `waits_for`: what has to be allowed before it goes on, 0 where it
    waits for nothing; what it is fed meanwhile is kept.
    """

    said_something: int
    waits_for: int
    done: bool
    is_cut: bool
    broke_off: bool
    failure: BadAnswer | None

    @property
    def size(self) -> Size: ...

    @property
    def begun(self) -> bool: ...

    @property
    def finished(self) -> bool: ...

    @property
    def report(self) -> Report | None: ...

    @property
    def is_final(self) -> bool: ...

    def alive(self) -> bytes:
        """A sign of life for a client that waits, before the first event and between any two."""

    def allow(self, output: int | None) -> bytes:
        """From now on so much in all may be relayed, None: any amount. What has waited for it is to be relayed now."""

    def feed(self, chunk: bytes) -> bytes:
        """What to relay now of what upstream sent; empty where no event was completed."""

    def end(self) -> bytes:
        """Upstream has closed: what is still to be relayed; `failure` where the answer was not finished."""

    def stop(self) -> None:
        """Ends a finished answer for which nothing more can come."""

    def cut(self) -> None:
        """Ends the answer here, at the limit of what is paid for. Where nobody could tell, it does nothing."""

    def tail(self, bill: Bill, *, refused: APIError | None = None) -> bytes:
        """The last bytes, after payment. `refused`: why it was not allowed to go on, for the client to read."""

    def failed(self, error: APIError) -> bytes | None:
        """The last bytes of a stream that fails after it has begun; None where there are no words: it is broken off."""


class Conversation(Protocol):
    """A prompt that grows at its end from request to request, message by message. `length`: how many there are."""

    @property
    def length(self) -> int: ...

    def hashes(self, keyed: hmac.HMAC, *, last: int) -> list[bytes]:
        """Of all that the prompt is made of up to each of so many last messages, the whole prompt's last.

        `keyed` is fed with it.
        """

    def bound_after(self, length: int, model: ServedModel) -> int:
        """Never below the tokens that the messages after the first `length` add to the prompt."""


class MeteredRequest(Protocol):
    """One request of an endpoint, checked as far as it can be without its model.

    `endpoint` is the endpoint's name (proxy.catalogue.endpoints), as it stands in the usage record. `prompt_field` is
    the field of the body that errors about the prompt's length name. `affinity` stays the same through a
    conversation, whose requests go to one upstream while that is well, for its cache of prompts; empty: any.

    `model` is the one asked for, by its id; `answers` how many are asked for at once, each up to `output_limit`
    (None: the client has set none). `inputs`: the field with the first image, sound or file, or the tools, by kind
    (proxy.catalogue.request_fields). `prompt_estimate`, `prompt_bound` and `output_limit` count what the model
    charges per: tokens, or what an endpoint counts in their place.
    """

    @property
    def endpoint(self) -> str: ...

    @property
    def prompt_field(self) -> str: ...

    @property
    def affinity(self) -> bytes: ...

    @property
    def model(self) -> str: ...

    @property
    def stream(self) -> bool: ...

    @property
    def answers(self) -> int: ...

    @property
    def output_limit(self) -> int | None: ...

    @property
    def inputs(self) -> Mapping[str, str]: ...

    @property
    def units(self) -> Units | None:
        """The pieces that it asks for at most; None where nothing but tokens is billed.

        proxy.catalogue.prices.by_piece says which of them are billed. An image's size or quality that is not known yet
        is held for as the dearest. Without any pieces, as of moderations, the request itself is one.
        """

    @property
    def conversation(self) -> Conversation | None:
        """The prompt as one whose beginning may have been counted before, where it is long enough to ask."""

    @property
    def prompt_estimate(self) -> int:
        """Near the truth: what limits count at admission and an estimate bills."""

    def prompt_bound(self, model: ServedModel) -> int:
        """Never below the truth: what the hold is made for."""

    def cannot_fit(self, context_tokens: int) -> bool:
        """Whether the prompt is certainly longer than the model's context."""

    def default_output_limit(self, model: ServedModel) -> int:
        """The cap on each answer where the client has set none."""

    def protocol_for(self, route: ServedRoute) -> UpstreamProtocol:
        """How a route's upstream is asked."""

    def upstream_headers(self, route: ServedRoute) -> Mapping[str, str]:
        """What of the client's headers goes on to a route's upstream."""

    def left_out(self, route: ServedRoute) -> Sequence[str]:
        """What of the request a route's upstream is not sent, for the client to read."""

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes | FormBody:
        """The body for a route's upstream, with the cap that is held in the names that it obeys."""

    def is_reported_by(self, route: ServedRoute) -> bool:
        """Whether what this upstream reports can be true of such a request."""

    def read_whole(self, body: bytes, route: ServedRoute) -> WholeAnswer:
        """Raises BadAnswer."""

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        """`output_bound` is what is paid for, of all answers together; 0 for any amount."""

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        """What a believed report shows to be declared too low: columns of LanguageModel, with what they become.

        `output_limit` is the cap that was sent.
        """
