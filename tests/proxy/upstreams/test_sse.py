"""Server-sent events: whole and unchanged however their bytes are cut, and bounded."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstreams import sse
from proxy.upstreams.sse import EventSplitter, EventTooLarge

ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.sampled_from(
    [
        b"data: {}",
        b"data:",
        b"data: \xd8\xb3\xd9\x84",
        b": ping",
        b"event: error",
        b"id: 7",
        b"retry: 10",
        b"x",
    ]
)
EVENTS = st.lists(st.lists(LINES, min_size=1, max_size=4), max_size=5)


def fed(*chunks: bytes) -> list[bytes]:
    splitter = EventSplitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events + splitter.flush()


@given(EVENTS, ENDS, st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_events_are_the_same_wherever_the_stream_is_cut(
    events: list[list[bytes]], end: bytes, cuts: list[int], ends_with_blank_line: bool
) -> None:
    stream = b"".join(end.join(lines) + end + end for lines in events)
    if not ends_with_blank_line:
        stream = stream.removesuffix(end + end)
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    chunks = [stream[start:stop] for start, stop in pairwise(places)]
    assert fed(*chunks) == [b"\n".join(lines) + b"\n\n" for lines in events]


@given(EVENTS, ENDS)
def test_events_are_the_same_byte_by_byte(events: list[list[bytes]], end: bytes) -> None:
    stream = b"".join(end.join(lines) + end + end for lines in events)
    assert fed(*(bytes([byte]) for byte in stream)) == [b"\n".join(lines) + b"\n\n" for lines in events]


def test_an_event_comes_out_with_its_last_byte_and_not_later() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\n\ndata: 2\n") == [b"data: 1\n\n"]
    assert splitter.feed(b"\n") == [b"data: 2\n\n"]
    assert splitter.feed(b"data: 3\n\n") == [b"data: 3\n\n"]
    assert splitter.flush() == []


def test_a_carriage_return_at_a_chunks_end_waits_for_its_other_half() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\r\n\r") == []
    assert splitter.feed(b"\ndata: 2\r\n\r\n") == [b"data: 1\n\n", b"data: 2\n\n"]
    assert splitter.feed(b"data: 3\n\n") == [b"data: 3\n\n"]


def test_blank_lines_alone_are_no_events() -> None:
    assert fed(b"\n\n", b"\n\n\n\n", b"data: 1\n\n\n\n", b"\r\n\r\n") == [b"data: 1\n\n"]


@pytest.mark.parametrize("rest", [b"data: 1", b"data: 1\n", b"data: 1\r", b"data: 1\r\n"])
def test_a_last_event_whose_blank_line_never_came_is_given_at_the_end(rest: bytes) -> None:
    splitter = EventSplitter()
    assert splitter.feed(rest) == []
    assert splitter.flush() == [b"data: 1\n\n"]
    assert splitter.flush() == []


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_MAX_BYTES", 1_000)
    splitter = EventSplitter()
    assert splitter.feed(b"x" * 1_000) == []
    with pytest.raises(EventTooLarge):
        splitter.feed(b"x")
    # What has ended is not counted against what follows.
    splitter = EventSplitter()
    for _ in range(10):
        assert splitter.feed(b"data: " + b"x" * 900) == []
        assert len(splitter.feed(b"\n\n")) == 1


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"data:  {}\n\n", b" {}"),  # one space belongs to the form, a second one to the data
        (b"data:\n\n", b""),
        (b"event: x\ndata: 1\ndata: 2\n\n", b"1\n2"),
        (b": ping\n\n", None),
        (b"event: done\n\n", None),
        (b"database: 1\n\n", None),
    ],
)
def test_the_data_of_an_event_is_all_of_its_data_lines(event: bytes, data: bytes | None) -> None:
    assert sse.data(event) == data


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (b"event: error\ndata: {}\n\n", b"error"),
        (b"event:error\n\n", b"error"),
        (b"event: one\nevent: two\n\n", b"two"),
        (b"data: event: error\n\n", b""),
    ],
)
def test_an_event_is_called_by_its_last_name(event: bytes, name: bytes) -> None:
    assert sse.name(event) == name


@pytest.mark.parametrize(
    ("event", "comments"),
    [
        (b": ping\n\n", b": ping\n\n"),
        (b"id: 7\n: one\nretry: 10\n:two\n\n", b": one\n:two\n\n"),
        (b"event: ping\nid: 7\n\n", b""),
    ],
)
def test_of_an_event_without_data_only_its_comments_are_for_clients(event: bytes, comments: bytes) -> None:
    assert sse.comments(event) == comments


def test_an_error_is_one_event_and_the_end_of_the_stream() -> None:
    error, done = fed(sse.error_event({"error": {"message": "سلام\n\nهمین"}}))
    assert json.loads(sse.data(error) or b"") == {"error": {"message": "سلام\n\nهمین"}}
    assert sse.data(done) == b"[DONE]"
