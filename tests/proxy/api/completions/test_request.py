"""What is read of a legacy completion, what an upstream gets of it, and what of its answer is output."""

from typing import Any

import orjson
import pytest

from proxy.api.completions.request import CompletionRequest, read_request
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.quirks import rules_for
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from proxy.metering.endpoint import BadAnswer
from tests.proxy.factories import served_model, served_route

ROUTE = served_route(1, upstream_model="up")


def read(prompt: Any = "Hello", **fields: Any) -> CompletionRequest:
    return read_request(read_payload(orjson.dumps({"model": "m", "prompt": prompt, **fields})), model="m")


def sent(asked: CompletionRequest, *, output_limit: int = 9, **rules: Any) -> dict[str, Any]:
    route = served_route(1, upstream_model="up", quirks=rules_for(kind="openai", strip_fields="", **rules))
    body: dict[str, Any] = orjson.loads(asked.body_for(route, output_limit=output_limit))
    return body


def choice(text: str, index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def event(*choices: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps({"id": "c", "object": "text_completion", "choices": choices}) + b"\n\n"


def whole(*choices: dict[str, Any]) -> bytes:
    return orjson.dumps({"id": "c", "object": "text_completion", "model": "up", "choices": choices})


def test_what_is_not_read_passes_and_what_could_make_more_is_left_out() -> None:
    body = sent(
        read(suffix="s", logprobs=3, echo=True, user="u", new=[1.0], best_of=5, prompt_embeds="x", Prompt="y")
    )
    assert body == {
        "model": "up",
        "prompt": "Hello",
        "suffix": "s",
        "logprobs": 3,
        "echo": True,
        "user": "u",
        "new": [1.0],
        "max_tokens": 9,
    }


def test_the_cap_goes_by_the_only_name_that_there_is_here() -> None:
    body = sent(
        read(max_completion_tokens=5, max_tokens=7), output_limit=5, limit_field="max_completion_tokens"
    )
    assert (body["max_tokens"], "max_completion_tokens" in body) == (5, False)
    assert read(max_completion_tokens=5, max_tokens=7).output_limit == 5


def test_without_a_cap_it_is_the_one_of_the_specification() -> None:
    asked = read()
    assert asked.output_limit is None
    assert asked.default_output_limit(served_model()) == 16
    assert asked.default_output_limit(served_model(max_output_tokens=9)) == 9


def test_who_wants_scores_alone_gets_no_more() -> None:
    asked = read(max_tokens=0, echo=True, logprobs=1)
    assert asked.output_limit == 1  # of which nothing is sent
    assert sent(asked, output_limit=1)["max_tokens"] == 0


def test_prompts_and_answers_each_multiply() -> None:
    assert read(["a", "b", "c"], n=2).answers == 6
    assert read([[1, 2], [3]]).answers == 2
    assert read([1, 2]).answers == 1


def test_streams_ask_for_usage_beside_the_clients_options() -> None:
    body = sent(read(stream=True, stream_options={"continuous_usage_stats": True}))
    assert body["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}
    assert not read(stream=True).include_usage
    assert read(stream=True, stream_options={"include_usage": True}).include_usage


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": [{}]}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": "1"}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"echo": 1}, "echo"),
        ({"prompt": [1, 2], "echo": True}, "echo"),
        ({"stream_options": []}, "stream_options"),
    ],
)
def test_a_wrong_field_is_named(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as caught:
        read(**{"prompt": "a", **wrong})
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


def test_a_prompt_that_is_repeated_is_no_output() -> None:
    prompt, answer = "Once upon a time, " * 20, "there was a cat."
    for asked in (read(prompt, echo=True), read([prompt, "x"], n=2, echo=True)):
        size = asked.read_whole(whole(choice(prompt + answer, finish="stop")), ROUTE).size
        assert (size.text_bytes, size.at_most) == (len(answer), len(answer))
    assert read(prompt).read_whole(whole(choice(prompt + answer)), ROUTE).size.text_bytes > len(prompt)


def test_each_choice_repeats_the_prompt_that_it_is_of() -> None:
    asked = read(["aaaa", "bb"], n=2, echo=True)
    choices = [choice("aaaaX", 0), choice("aaaaYY", 1), choice("bbZZZ", 2), choice("bbWWWW", 3)]
    assert asked.read_whole(whole(*choices), ROUTE).size.text_bytes == 10


def test_a_repeated_prompt_may_come_in_any_pieces() -> None:
    asked = read("Hello, world!", echo=True, stream=True)
    for size in (1, 3, 13, 20):
        answer, text = asked.read_stream(ROUTE, output_bound=100), "Hello, world! Fine."
        relayed = [answer.feed(event(choice(text[at : at + size]))) for at in range(0, len(text), size)]
        assert all(relayed)
        assert answer.size.text_bytes == len(" Fine.")


def test_a_prompt_may_come_back_with_other_spaces() -> None:
    asked = read("Hello,  world!\nHow are you?", echo=True)
    size = asked.read_whole(whole(choice("Hello, world! How are you? Fine.")), ROUTE).size
    assert size.text_bytes <= len(" Fine.")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_what_does_not_repeat_the_prompt_is_output(size: int) -> None:
    asked = read("Say something long. " * 20, echo=True, stream=True)
    answer, text = asked.read_stream(ROUTE, output_bound=1_000), "Say nothing else than this."
    for at in range(0, len(text), size):
        answer.feed(event(choice(text[at : at + size])))
    assert answer.size.text_bytes >= len("nothing else than this.")
    assert asked.read_whole(whole(choice(text)), ROUTE).size.text_bytes == len(text)


def test_what_waits_for_more_to_be_held_is_counted_once() -> None:
    asked = read("Hello", echo=True, stream=True)
    answer = asked.read_stream(ROUTE, output_bound=100)
    assert not answer.allow(4)
    assert answer.feed(event(choice("Hel")))
    assert not answer.feed(event(choice("lo 12345")))
    assert answer.waits_for == 6
    assert b"lo 12345" in answer.allow(10)
    assert answer.size.text_bytes == 6


def test_repeated_ids_count_as_what_they_could_be() -> None:
    answer = read([1, 2], echo=True, max_tokens=0).read_whole(whole(choice("a" * 41)), ROUTE)
    assert answer.size.text_bytes == 1


def test_a_stream_that_is_cut_ends_as_a_legacy_one() -> None:
    answer = read(stream=True).read_stream(ROUTE, output_bound=1)
    assert answer.feed(event(choice("one ")))
    assert answer.feed(event(choice("two "))) == b""
    assert answer.is_cut


def test_an_answer_without_choices_is_none() -> None:
    asked = read()
    for wrong in (
        b"{}",
        whole(),
        orjson.dumps({"choices": [{}]}),
        orjson.dumps({"error": {"message": "no"}}),
    ):
        with pytest.raises(BadAnswer):
            asked.read_whole(wrong, ROUTE)
    assert asked.read_whole(orjson.dumps({"choices": [{"text": "a"}]}), ROUTE).size.text_bytes == 1


def test_several_prompts_teach_nothing_about_the_context_that_one_could_not() -> None:
    asked, model = read(["a " * 400] * 10), served_model(context_tokens=1_000)
    assert asked.exceeded(Usage(8_000, 0), model=model, output_limit=9) == {}
    assert asked.exceeded(Usage(12_000, 0), model=model, output_limit=9)["learned_context_tokens"] == 1_200
    assert asked.exceeded(Usage(100, 100), model=model, output_limit=9) == {"learned_output_tokens": 10}
