"""Cutting and reading streams, without a network."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.api.chat_completions.answers import texts, whole_answer
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.tokens import TextSize
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import report_of
from proxy.upstreams import sse
from tests.fake_upstream import STREAM, USAGE, chunk

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(data=st.data(), end=LINE_ENDS)
def test_events_come_out_the_same_wherever_the_stream_is_cut(data: st.DataObject, end: bytes) -> None:
    raw = b"".join(STREAM).replace(b"\n", end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    splitter = sse.EventSplitter()
    events = []
    for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        events += splitter.feed(raw[start:stop])
    assert events + splitter.flush() == STREAM


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream_that_ends_at_any_byte_is_whole_only_with_its_finish(include_usage: bool) -> None:
    raw = b"".join(STREAM)
    ends = [len(b"".join(STREAM[:number])) for number in range(len(STREAM) + 1)]
    # A last blank line may be missing, and what has got no further than its name says nothing.
    untorn = {end + more for end in ends for more in (-2, -1, 0, len(b"data:"), len(b"data: "))}
    for end in range(len(raw) + 1):
        answer = AnswerStream(include_usage=include_usage)
        relayed = answer.feed(raw[:end]) + answer.end()
        assert relayed in [b"".join(STREAM[:number]) for number in range(5)]
        assert answer.done == (end in untorn and end >= ends[4] - 2)
        assert bool(answer.failure) != answer.done


def test_data_of_several_lines_is_one() -> None:
    assert sse.data(b"event: x\ndata: {\ndata: }\n\n") == b"{\n}"
    assert sse.data(b": comment\n\n") is None


def test_an_event_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_MAX_BYTES", 100)
    answer = AnswerStream(include_usage=False)
    assert answer.feed(b"data: " + b"x" * 200) == b""
    assert answer.failure


def test_nothing_after_done_is_relayed() -> None:
    answer = AnswerStream(include_usage=False)
    answer.feed(b"".join(STREAM))
    assert answer.done
    assert answer.feed(chunk({"content": "more"})) == b""


def test_usage_null_on_every_chunk_is_stripped_where_it_was_not_asked_for() -> None:
    answer = AnswerStream(include_usage=False)
    relayed = answer.feed(chunk({"content": "a"}, usage=None))
    assert "usage" not in json.loads(relayed[6:])
    asked = AnswerStream(include_usage=True)
    event = chunk({"content": "a"}, usage=None)
    assert asked.feed(event) == event


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, Usage(12, 9)),
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": 5}}, Usage(12, 9, 5)),
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": 500}}, Usage(12, 9, 12)),
        ({**USAGE, "prompt_tokens_details": None}, Usage(12, 9)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 9}, Usage(3, 6, reasoning_tokens=5)),
        ({"prompt_tokens": True, "completion_tokens": 1}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": 1}, None),
        ({}, None), (None, None), ([], None), ("12", None),
    ],
)  # fmt: skip
def test_reported_usage(usage: object, expected: Usage | None) -> None:
    report = report_of({"usage": usage})
    assert (report and report.usage) == expected


def test_all_kinds_of_text_count() -> None:
    call = {"function": {"name": "go", "arguments": '{"a":1}'}}
    assert sorted(texts({"content": "سلام", "reasoning_content": "ab", "tool_calls": [call, None, 5]})) == [
        "", "ab", "go", '{"a":1}', "سلام",
    ]  # fmt: skip
    assert "".join(texts({"content": [{"type": "text"}]})) == ""
    assert list(texts(None)) == list(texts("x")) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"null", b'{"choices":null}', b'{"error":{"message":"x"}}']
)
def test_a_whole_answer_without_choices_is_none(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        whole_answer(body)


def test_an_answer_of_several_choices_ends_when_all_of_them_have() -> None:
    def said(number: int, finish: str | None = None) -> bytes:
        delta = {} if finish else {"content": "a"}
        chunk = {"choices": [{"index": number, "delta": delta, "finish_reason": finish}]}
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    broken = AnswerStream(include_usage=False, choices=2)
    broken.feed(said(0) + said(1) + said(0, "stop"))
    assert not broken.finished
    broken.end()
    assert broken.failure

    both = AnswerStream(include_usage=False, choices=2)
    both.feed(said(0) + said(1) + said(0, "stop") + said(1, "stop"))
    assert both.finished
    both.end()
    assert both.done
    assert not both.failure

    fewer = AnswerStream(include_usage=False, choices=2)  # than asked for, but whole
    fewer.feed(said(0) + said(0, "stop"))
    fewer.end()
    assert not fewer.failure


@pytest.mark.parametrize(
    "framed",
    [
        b"data:\n\n", b"data: \n\n", b"event: ping\ndata:\n\n", b"\xef\xbb\xbf: hello\n\n",
        b'data: {"code":0,"message":"Success","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n',
    ],
)  # fmt: skip
def test_an_event_that_says_nothing_harms_no_answer(framed: bytes) -> None:
    answer = AnswerStream(include_usage=False)
    relayed = answer.feed(framed + STREAM[1] + STREAM[3] + STREAM[5])
    assert relayed.removeprefix(b": hello\n\n") == STREAM[1] + STREAM[3]
    assert answer.done
    assert not answer.failure


@pytest.mark.parametrize("choices", [1, 2])
@pytest.mark.parametrize("text", [b"\xff", b"\xff\\u0041"])
def test_bytes_that_are_no_text_are_no_answer(text: bytes, choices: int) -> None:
    answer = AnswerStream(include_usage=False, choices=choices)
    answer.feed(b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text)
    assert isinstance(answer.failure, BadAnswer)
    with pytest.raises(BadAnswer):
        whole_answer(b'{"choices":[{"index":0,"message":{"content":"%b"}}]}' % text)


def test_text_beside_a_delta_or_a_message_counts() -> None:
    answer = AnswerStream(include_usage=False)
    answer.feed(b'data: {"choices":[{"index":0,"text":"said","finish_reason":"stop"}]}\n\n')
    assert answer.size.text_bytes == 4
    assert whole_answer(b'{"choices":[{"text":"said","finish_reason":"stop"}]}').size.text_bytes == 4


@pytest.mark.parametrize(
    "message",
    [
        {"thinking": "said"}, {"reasoning_text": "said"}, {"reasoning": {"content": "said"}}, {"thought": "said"},
        {"content": [{"type": "reasoning", "reasoning": "said", "text": "said"}]},
        {"thinking": "said", "reasoning": "said", "reasoning_details": [{"text": "said"}]},
        {"tool_calls": [{"arguments": "said"}]}, {"tool_calls": [{"custom": {"input": "said"}}]},
    ],
    ids=str,
)  # fmt: skip
def test_text_counts_once_by_whatever_name_it_comes(message: dict[str, object]) -> None:
    assert "".join(texts(message)) == "said"


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("network_error", None), ("internal_server_error", None), ("timed_out", None), ("canceled", None),
        ("Failure", None), ("sensitive", "content_filter"), ("model_context_window_exceeded", "length"),
        ("end_turn", "stop"), ("eos", "stop"),
    ],
)  # fmt: skip
def test_words_for_an_end_are_failures_or_one_of_openais(word: str, becomes: str | None) -> None:
    body = orjson.dumps({"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": word}]})
    if becomes is None:
        with pytest.raises(BadAnswer):
            whole_answer(body)
    else:
        assert whole_answer(body).answer["choices"][0]["finish_reason"] == becomes


def test_what_is_not_ours_in_an_answer_stays_byte_for_byte() -> None:
    deep = b"[" * 400 + b"]" * 400
    body = (
        b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"extra":' + deep + b',"big":1e400'
    )
    whole = whole_answer(body.replace(b"1e400", b"1e300") + b',"model":"up","usage":null}', model="asked")
    said = whole.for_customer(Bill(Usage(1, 0), PriceQuote(10**6, 0), 10**6))
    usage = (
        b'{"prompt_tokens":1,"completion_tokens":0,"total_tokens":1,"cost_toman":0.1,'
        b'"cost_details":{"input":{"quantity":1,"toman":0.1}}}'
    )
    assert said == body.replace(b"1e400", b"1e300") + b',"model":"asked","usage":' + usage + b"}"


SPOKEN = st.text(st.sampled_from("ab 9-\n\u0633\u06cc\u2014\u4e2d\ud83d\U0001f600"), max_size=400)
DELTAS = st.lists(
    st.tuples(
        st.sampled_from(["content", "reasoning", "reasoning_content", "refusal"]), SPOKEN, st.integers(0, 2)
    ),
    max_size=40,
)


@given(deltas=DELTAS, bound=st.integers(1, 60), size=st.integers(1, 3000))
def test_no_more_is_ever_relayed_than_is_held(
    deltas: list[tuple[str, str, int]], bound: int, size: int
) -> None:
    raw = b"".join(
        b"data: %b\n\n" % json.dumps({"choices": [{"index": number, "delta": {name: text}}]}).encode()
        for name, text, number in deltas
    )
    answer = AnswerStream(include_usage=False, choices=3, output_bound=bound)
    relayed = b""
    for start in range(0, len(raw), size):
        relayed += answer.feed(raw[start : start + size])
        assert answer.size.at_least <= bound
        assert answer.is_cut == answer.done
    told = TextSize()
    for event in relayed.split(b"\n\n")[:-1]:
        told.add(texts(json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"]))
    assert told == answer.size
    assert raw.startswith(relayed)
    assert answer.is_cut or relayed == raw


@pytest.mark.parametrize("said", [{"a": 1}, ["stop"], 5, True])
def test_an_end_that_is_no_word_is_an_end(said: object) -> None:
    answer = whole_answer(
        json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": said}]}).encode()
    )
    assert answer.answer["choices"][0]["finish_reason"] == "stop"
