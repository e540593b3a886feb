"""POST /v1/images/generations: paid by the image of a size and quality, or by reported tokens."""

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, Script, respond, stream_events
from tests.live import at_once, eventually
from tests.proxy.api.conftest import CREDIT, Caller
from tests.proxy.api.media.conftest import (
    BY_IMAGE,
    BY_KIND,
    IMAGE,
    IMAGE_BY_TOKEN,
    INPUT,
    OUTPUT_IMAGE,
    assert_cost_can_be_computed_anew,
    cutting,
    event,
    raw,
)
from wallet.ledger.models import Hold
from wallet.money import MICRO_PER_RIAL

PROMPT = "یک گربه روی بام"
DATA = "aGVsbG8="
USAGE = {
    "input_tokens": 50,
    "output_tokens": 4_160,
    "total_tokens": 4_210,
    "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
}
TOKENS_COST = 50 * INPUT + 4_160 * OUTPUT_IMAGE


def drawn(count: int = 1, **told: Any) -> Script:
    return respond(200, {"created": 1, "data": [{"b64_json": DATA}] * count, **told})


def ask(caller: Caller, **fields: Any) -> httpx.Response:
    with caller.http as http:
        return http.post("/images/generations", json={"model": BY_IMAGE, "prompt": PROMPT, **fields})


def test_images_are_passed_on_as_they_are_and_paid_each(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = drawn(2, background="opaque", more={"deep": [1, "متن"]}, model="up-model")
    answer = caller.sdk.images.generate(model=BY_IMAGE, prompt=PROMPT, n=2, background="opaque", user="me")
    assert [image.b64_json for image in answer.data or []] == [DATA, DATA]
    assert (answer.background, answer.to_dict()["more"], answer.to_dict()["model"]) == (
        "opaque", {"deep": [1, "متن"]}, BY_IMAGE,
    )  # fmt: skip
    assert answer.usage is not None
    cost = 2 * IMAGE * MICRO_PER_RIAL
    usage: dict[str, Any] = answer.usage.to_dict()
    assert usage["cost_toman"] == cost / 10**7
    assert usage["cost_details"]["image"] == {"quantity": 2, "toman": cost / 10**7}
    assert upstream.requests == [
        {"model": "up-model", "prompt": PROMPT, "n": 2, "background": "opaque", "user": "me"}
    ]
    record = caller.usage()
    assert (record.endpoint, record.billed_by, record.quantities) == ("images", "counted", {"image": 2})
    assert record.cost_micro == cost
    assert caller.balance() == (CREDIT - cost, 0)
    assert_cost_can_be_computed_anew(caller)


def test_an_image_may_come_as_an_address(caller: Caller, upstream: FakeUpstream) -> None:
    url = "https://images.test/1.png?signed=1"
    upstream.script = respond(200, {"created": 1, "data": [{"url": url, "revised_prompt": "A cat"}]})
    answer = ask(caller, response_format="url")
    assert answer.json()["data"] == [{"url": url, "revised_prompt": "A cat"}]
    assert answer.headers["x-hamiran-cost-toman"] == str(IMAGE // 10)
    assert caller.usage().cost_micro == IMAGE * MICRO_PER_RIAL


@pytest.mark.parametrize(("asked", "made", "paid"), [(3, 1, 1), (1, 4, 1), (2, 2, 2)])
def test_fewer_images_cost_less_and_more_cost_no_more(
    caller: Caller, upstream: FakeUpstream, asked: int, made: int, paid: int
) -> None:
    upstream.script = drawn(made)
    assert len(ask(caller, n=asked).json()["data"]) == made
    assert caller.usage().cost_micro == paid * IMAGE * MICRO_PER_RIAL


@pytest.mark.parametrize(
    ("asked", "told", "rial"),
    [
        ({"size": "1024x1024", "quality": "high"}, {}, 900),
        ({"size": " 1024X1024", "quality": "HIGH"}, {}, 900),
        ({"size": "1024x1024", "quality": "medium"}, {}, 500),
        ({"size": "auto", "quality": "auto"}, {"size": "1536x1024", "quality": "low"}, 300),
        ({"size": None}, {"size": "1024x1024", "quality": "low"}, 500),
        ({}, {"size": "1024x1024", "quality": "high"}, 900),
        ({}, {}, 900),  # nobody says which: the dearest, which was held
        ({}, {"size": "9x9", "quality": ["high"]}, 900),
        ({"quality": "low"}, {"size": "1536x1024"}, 300),
    ],
)
def test_an_image_costs_by_its_size_and_quality(
    caller: Caller, upstream: FakeUpstream, asked: dict[str, Any], told: dict[str, Any], rial: int
) -> None:
    upstream.script = drawn(**told)
    assert ask(caller, model=BY_KIND, **asked).status_code == 200
    assert caller.usage().cost_micro == rial * MICRO_PER_RIAL
    assert_cost_can_be_computed_anew(caller)


def test_what_is_billed_is_what_is_asked_of_upstream(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = drawn()
    ask(
        caller, model=BY_KIND, size="1024X1024", quality=" High", Quality="low", SIZE="1x1", N=4, **{"n[]": 8}
    )
    assert upstream.requests == [
        {"model": "up-model", "prompt": PROMPT, "size": "1024x1024", "quality": "high"}
    ]


def test_the_dearest_image_that_may_come_is_held(
    caller: Caller, make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    poor = make_caller(credit_micro=2 * 900 * MICRO_PER_RIAL - 1)
    assert ask(poor, model=BY_KIND, n=2).json()["error"]["code"] == "insufficient_balance"
    assert upstream.requests == []
    upstream.script = drawn(2)
    assert ask(poor, model=BY_KIND, n=2, size="1024x1024", quality="low").status_code == 200


@pytest.mark.parametrize(
    ("asked", "param"),
    [({"size": "512x512"}, "size"), ({"size": "1536x1024", "quality": "high"}, "quality")],
)
def test_an_image_of_a_kind_without_a_price_is_not_made(
    caller: Caller, upstream: FakeUpstream, asked: dict[str, Any], param: str
) -> None:
    error = ask(caller, model=BY_KIND, **asked).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert "1024x1024 high; 1024x1024; 1536x1024 low" in error["message"]
    assert upstream.requests == []


def test_reported_tokens_are_paid_where_the_list_prices_them(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = drawn(usage={**USAGE, "cost": 0.17})
    answer = ask(caller, model=IMAGE_BY_TOKEN).json()
    assert {name: answer["usage"][name] for name in USAGE} == USAGE
    assert "cost" not in answer["usage"]
    record = caller.usage()
    assert (record.billed_by, record.cost_micro) == ("usage", TOKENS_COST)
    assert (record.prompt_tokens, record.completion_tokens) == (50, 4_160)
    assert record.upstream_cost_nanodollars == 170_000_000
    assert_cost_can_be_computed_anew(caller)


def test_tokens_that_nobody_reports_are_estimated_where_the_list_prices_nothing_else(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = drawn()
    ask(caller, model=IMAGE_BY_TOKEN)
    record = caller.usage()
    assert (record.billed_by, record.completion_tokens) == ("estimate", 1_056)
    assert record.cost_micro > 0


def test_tokens_beyond_what_the_model_declares_are_the_operators_loss_once(
    caller: Caller, make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    upstream.script = drawn(usage={**USAGE, "output_tokens": 6_208, "total_tokens": 6_258})
    ask(caller, model=IMAGE_BY_TOKEN)
    assert caller.usage().uncovered_micro > 0
    again = make_caller()
    ask(again, model=IMAGE_BY_TOKEN)
    assert again.usage().uncovered_micro == 0


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (
            respond(400, {"error": {"message": "Not this.", "code": "moderation_blocked"}}),
            400,
            "moderation_blocked",
        ),
        (respond(200, {"error": {"message": "Not this.", "code": "bad", "status": 400}}), 400, "bad"),
        # Filtered: about the request, so no failure of the upstream, whose breaker would close it for everybody.
        (respond(200, {"created": 1, "data": []}), 400, "content_policy_violation"),
        (respond(200, {"created": 1, "data": [{"b64_json": None}]}), 400, "content_policy_violation"),
        (respond(200, {"created": 1}), 502, "upstream_error"),
        (respond(200, b"[]"), 502, "upstream_error"),
        (respond(200, b"no JSON"), 502, "upstream_error"),
    ],
)
def test_what_is_no_image_costs_nothing(
    caller: Caller, upstream: FakeUpstream, script: Script, status: int, code: str
) -> None:
    upstream.script = script
    answer = ask(caller)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert caller.balance() == (CREDIT, 0)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": "2"}, "n"),
        ({"n": 2, "stream": True}, "n"),
        ({"size": 1024}, "size"),
        ({"size": "a b"}, "size"),
        ({"quality": "x" * 33}, "quality"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_format": "svg"}, "output_format"),
        ({"num_images": 4}, "num_images"),
        ({"width": 4_096}, "width"),
        ({"frame_count": 16}, "frame_count"),
        ({"numImages": 4}, "numImages"),
        ({"image-size": "4K"}, "image-size"),
        ({"num_inference_steps": 100}, "num_inference_steps"),
        ({"model": ""}, "model"),
    ],
)
def test_what_cannot_be_asked_is_told_by_its_field(
    caller: Caller, upstream: FakeUpstream, fields: dict[str, Any], param: str
) -> None:
    answer = ask(caller, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert upstream.requests == []


def test_an_answer_may_break_at_every_byte(caller: Caller, upstream: FakeUpstream) -> None:
    whole = raw(drawn())
    upstream.script = cutting(whole, field="user")

    def status(http: httpx.Client, cut: int) -> int:
        body = {"model": BY_IMAGE, "prompt": PROMPT, "user": str(cut)}
        return http.post("/images/generations", json=body).status_code

    statuses = at_once(status, range(1, len(whole) + 1), threads=8, http=lambda: caller.http)
    assert statuses == [502] * (len(whole) - 1) + [200]
    assert caller.balance() == (CREDIT - IMAGE * MICRO_PER_RIAL, 0)


# --- streams --------------------------------------------------------------------------------------------------------

KIND = {
    "size": "1024x1024",
    "quality": "high",
    "background": "opaque",
    "output_format": "png",
    "created_at": 1,
}


def named(name: str, **said: Any) -> bytes:
    return b"event: %b\n" % name.encode() + event(type=name, **said)


DRAFTS = [
    named("image_generation.partial_image", b64_json=DATA, partial_image_index=number, **KIND)
    for number in (0, 1)
]
COMPLETED = named("image_generation.completed", b64_json=DATA, usage=USAGE, **KIND)


def test_a_stream_shows_drafts_and_the_image_once_it_is_paid(caller: Caller, upstream: FakeUpstream) -> None:
    seen = threading.Event()
    upstream.script = stream_events(DRAFTS[0], seen, DRAFTS[1], COMPLETED)
    stream = caller.sdk.images.generate(model=IMAGE_BY_TOKEN, prompt=PROMPT, stream=True, partial_images=2)
    events = iter(stream)
    first = next(events)
    assert Hold.objects.filter(wallet=caller.wallet).exists()
    seen.set()
    second, last = events
    assert first.type == second.type == "image_generation.partial_image"
    assert last.type == "image_generation.completed"
    assert (last.b64_json, last.usage.output_tokens) == (DATA, 4_160)
    assert last.usage.to_dict()["cost_toman"] == TOKENS_COST / 10**7
    assert (caller.usage().billed_by, caller.usage().cost_micro) == ("usage", TOKENS_COST)
    assert upstream.requests[0]["partial_images"] == 2


def test_events_pass_as_they_are(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(b": hello\n\n", *DRAFTS, COMPLETED)
    answer = ask(caller, stream=True)
    assert answer.content.startswith(
        b": hello\n\n" + b"".join(DRAFTS) + b"event: image_generation.completed\n"
    )


def test_a_streamed_image_costs_by_what_its_event_tells(caller: Caller, upstream: FakeUpstream) -> None:
    without_usage = named("image_generation.completed", b64_json=DATA, **KIND | {"quality": "medium"})
    upstream.script = stream_events(without_usage)
    answer = ask(caller, model=BY_KIND, stream=True)
    last = json.loads(answer.content.split(b"data: ")[1])
    assert (last["usage"]["total_tokens"], last["usage"]["cost_toman"]) == (0, 50)
    assert caller.usage().cost_micro == 500 * MICRO_PER_RIAL


def test_a_client_that_leaves_after_a_draft_pays_for_the_image(
    caller: Caller, upstream: FakeUpstream
) -> None:
    gone = threading.Event()
    upstream.script = stream_events(DRAFTS[0], gone, DRAFTS[1], COMPLETED)
    body = {"model": BY_IMAGE, "prompt": PROMPT, "stream": True}
    with caller.http as http, http.stream("POST", "/images/generations", json=body) as answer:
        next(answer.iter_raw())
    gone.set()
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).exists())
    assert (caller.usage().outcome, caller.usage().cost_micro) == ("client_left", IMAGE * MICRO_PER_RIAL)


@pytest.mark.parametrize(
    "events",
    [
        DRAFTS,
        [*DRAFTS, b"data: [DONE]\n\n"],
        [*DRAFTS, event(type="image_generation.completed", usage=USAGE)],
        [*DRAFTS, event(type="error", error={"message": "Boom."})],
        [*DRAFTS, b"event: error\ndata: {}\n\n"],
        [*DRAFTS, b"data: {no JSON\n\n"],
        [*DRAFTS, b"data: 7\n\n"],
    ],
)
def test_a_stream_without_its_image_costs_nothing(
    caller: Caller, upstream: FakeUpstream, events: list[bytes]
) -> None:
    upstream.script = stream_events(*events)
    answer = ask(caller, stream=True)
    assert b'"code":"upstream_error"' in answer.content
    assert b"image_generation.completed" not in answer.content
    assert caller.balance() == (CREDIT, 0)
    with pytest.raises(openai.APIError):
        list(caller.sdk.images.generate(model=BY_IMAGE, prompt=PROMPT, stream=True))


def test_an_upstream_that_does_not_stream_is_told_as_that(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = drawn()
    for _ in range(12):  # more than an upstream may fail in a row
        error = ask(caller, stream=True).json()["error"]
        assert (error["code"], "events" in error["message"]) == ("invalid_value", True)
    assert caller.balance() == (CREDIT, 0)
    assert ask(caller).status_code == 200


def test_a_stream_may_break_at_every_byte(caller: Caller, upstream: FakeUpstream) -> None:
    whole = raw(stream_events(DRAFTS[0], COMPLETED))
    upstream.script = cutting(whole, field="user")

    def has_image(http: httpx.Client, cut: int) -> bool:
        body = {"model": IMAGE_BY_TOKEN, "prompt": PROMPT, "stream": True, "user": str(cut)}
        answer = http.post("/images/generations", json=body)
        has_failed = answer.status_code == 502 or b'"code":"upstream_error"' in answer.content
        assert has_failed is not (b"image_generation.completed" in answer.content)
        return not has_failed

    paid = sum(at_once(has_image, range(1, len(whole) + 1), threads=8, http=lambda: caller.http))
    assert caller.balance() == (CREDIT - paid * TOKENS_COST, 0)
    assert paid
