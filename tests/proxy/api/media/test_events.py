"""Events of media and sound as pure streams: whatever comes, in whatever pieces, it is relayed, kept or a failure."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.audio.sound import TEXT_MAX_BYTES, SoundStream
from proxy.api.images.generations import ImagesRequest, read_request
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from proxy.metering.bill import Bill
from proxy.metering.endpoint import StreamedAnswer
from proxy.upstreams import sse
from tests.proxy.factories import served_route

BILL = Bill(Usage(0, 0), PriceQuote(0, 0), 0)
BOOM = APIError("upstream_error")
COMPLETED = {"type": "image_generation.completed", "b64_json": "aGk="}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["type", "b64_json", "url", "usage", "error", "model", "cost", "size", "quality", "message"]
)
EVENTS = st.dictionaries(NAMES, JSON | st.sampled_from(["error", COMPLETED["type"]]), max_size=5)


def stream() -> StreamedAnswer:
    body = {"model": "asked", "prompt": "A cat", "stream": True}
    request: ImagesRequest = read_request(read_payload(json.dumps(body).encode()), model="asked")
    return request.read_stream(served_route(1), output_bound=0)


def events_of(relayed: bytes) -> list[Any]:
    every = relayed.split(b"\n\n")
    assert every.pop() == b""
    return [orjson.loads(data) for data in map(sse.data, every) if data and data != b"[DONE]"]


@given(st.lists(EVENTS, max_size=5), st.integers(1, 40))
def test_anything_is_relayed_whole_kept_or_a_failure(told: list[dict[str, Any]], piece: int) -> None:
    answer = stream()
    sent = b"".join(
        sse.event(orjson.dumps(one, option=orjson.OPT_NON_STR_KEYS)) for one in told if _fits(one)
    )
    relayed = b"".join(answer.feed(sent[start : start + piece]) for start in range(0, len(sent), piece))
    if not (answer.done or answer.failure):
        relayed += answer.end()
    for event in events_of(relayed):
        assert "cost" not in event
        assert event.get("type") != COMPLETED["type"]  # before it is paid for
    if answer.failure:
        ended = answer.failed(BOOM)
        assert ended is not None
        assert events_of(ended)[0]["error"]["code"] == "upstream_error"
    else:
        [last] = events_of(answer.tail(BILL))
        assert last["type"] == COMPLETED["type"]
        assert last["usage"]["cost_toman"] == 0


def _fits(value: Any) -> bool:
    """Whether it can be written: orjson has integers of 64 bits."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def test_a_name_a_comment_and_a_purchase_price_do_not_get_lost_or_through() -> None:
    answer = stream()
    draft = {"type": "image_generation.partial_image", "b64_json": "aA==", "model": "theirs", "x_cost": 1}
    relayed = answer.feed(
        b": hi\n\nevent: image_generation.partial_image\ndata: " + orjson.dumps(draft) + b"\n\n"
    )
    assert relayed.startswith(b": hi\n\nevent: image_generation.partial_image\ndata: ")
    assert events_of(relayed) == [{"type": draft["type"], "b64_json": "aA==", "model": "asked"}]


@given(st.binary(max_size=200), st.integers(1, 30))
def test_sound_comes_out_as_it_went_in(sound: bytes, piece: int) -> None:
    answer = SoundStream(estimate=5)
    relayed = b"".join(answer.feed(sound[start : start + piece]) for start in range(0, len(sound), piece))
    relayed += answer.end()
    if answer.failure is None:
        assert relayed == sound
        assert (answer.done, answer.begun, answer.size.estimate) == (True, True, 5)
    else:
        assert (relayed, answer.begun, answer.size.estimate) == (b"", False, 0)


@pytest.mark.parametrize("beginning", [b"{", b"[", b"<", b"  {"])
def test_what_begins_like_a_text_is_held_back_no_longer_than_an_error_may_be(beginning: bytes) -> None:
    answer = SoundStream(estimate=5)
    sound = beginning + b"\0" * TEXT_MAX_BYTES
    assert answer.feed(sound[:100]) == b""
    assert answer.feed(sound[100:]) == sound
    assert answer.feed(b"more") == b"more"
