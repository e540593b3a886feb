"""POST /v1/images/edits: a form with images, paid as images that are drawn."""

from typing import Any

import httpx
import pytest

from tests.fake_upstream import FakeUpstream, respond, stream_events
from tests.proxy.api.conftest import CREDIT, Caller
from tests.proxy.api.media.conftest import (
    BY_IMAGE,
    BY_KIND,
    IMAGE,
    IMAGE_BY_TOKEN,
    INPUT,
    OUTPUT_IMAGE,
    assert_cost_can_be_computed_anew,
    event,
)
from wallet.money import MICRO_PER_RIAL

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
MASK = b"\x89PNG\r\n\x1a\n" + bytes(500)
DATA = "aGVsbG8="
USAGE = {
    "input_tokens": 373,
    "output_tokens": 1_056,
    "total_tokens": 1_429,
    "input_tokens_details": {"text_tokens": 50, "image_tokens": 323},
}


def ask(caller: Caller, *, files: Any = None, **fields: Any) -> httpx.Response:
    files = [("image", ("cat.png", PICTURE, "image/png"))] if files is None else files
    with caller.http as http:
        return http.post("/images/edits", data={"model": BY_IMAGE, "prompt": "A hat", **fields}, files=files)


def test_images_are_passed_on_as_they_are_and_the_new_ones_paid(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = respond(200, {"created": 1, "data": [{"b64_json": DATA}] * 2})
    answer = caller.sdk.images.edit(
        model=BY_IMAGE, prompt="یک کلاه", n=2, background="opaque", input_fidelity="high",
        image=[("a.png", PICTURE, "image/png"), ("b.png", PICTURE, "image/png")],
        mask=("mask.png", MASK, "image/png"),
    )  # fmt: skip
    assert [image.b64_json for image in answer.data or []] == [DATA, DATA]
    assert upstream.paths == ["/v1/images/edits"]
    [sent] = upstream.requests
    assert sent.pop("image[]") == [("a.png", "image/png", PICTURE), ("b.png", "image/png", PICTURE)]
    assert sent.pop("mask") == ("mask.png", "image/png", MASK)
    assert sent == {
        "model": "up-model", "prompt": "یک کلاه", "n": "2", "background": "opaque", "input_fidelity": "high",
    }  # fmt: skip
    record = caller.usage()
    assert (record.endpoint, record.quantities) == ("images", {"image": 2})
    assert record.cost_micro == 2 * IMAGE * MICRO_PER_RIAL
    assert_cost_can_be_computed_anew(caller)


def test_reported_tokens_are_paid_those_of_images_that_came_too(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = respond(200, {"created": 1, "data": [{"b64_json": DATA}], "usage": USAGE})
    assert ask(caller, model=IMAGE_BY_TOKEN).json()["usage"]["input_tokens_details"]["image_tokens"] == 323
    assert caller.usage().cost_micro == 373 * INPUT + 1_056 * OUTPUT_IMAGE
    assert_cost_can_be_computed_anew(caller)


def test_an_edit_may_be_streamed(caller: Caller, upstream: FakeUpstream) -> None:
    draft = event(type="image_edit.partial_image", b64_json=DATA, partial_image_index=0)
    upstream.script = stream_events(draft, event(type="image_edit.completed", b64_json=DATA, usage=USAGE))
    answer = ask(caller, stream="true", partial_images="1")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.content.startswith(draft)
    assert b"image_edit.completed" in answer.content
    assert upstream.requests[0]["stream"] == "true"
    assert caller.usage().cost_micro == IMAGE * MICRO_PER_RIAL


def test_what_is_billed_is_what_is_asked_of_upstream(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, {"created": 1, "data": [{"b64_json": DATA}]})
    assert ask(caller, model=BY_KIND, size=" 1024X1024", quality="HIGH", Quality="low").status_code == 200
    assert (upstream.requests[0]["size"], upstream.requests[0]["quality"]) == ("1024x1024", "high")
    assert "Quality" not in upstream.requests[0]
    assert caller.usage().cost_micro == 900 * MICRO_PER_RIAL


def test_no_list_stands_beside_what_is_read_as_one(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, {"created": 1, "data": [{"b64_json": DATA}]})
    misleading = {"n[]": "9", "n[0]": "9", "size[]": "4096x4096", "quality[x]": "high", "model[]": "dearer"}
    assert ask(caller, **misleading, **{"include[]": "x"}).status_code == 200
    assert upstream.requests[0].keys() == {"model", "prompt", "include[]", "image"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"n": "0"}, "n"),
        ({"n": "11"}, "n"),
        ({"n": "two"}, "n"),
        ({"n": ["1", "9"]}, "n"),
        ({"stream": "maybe"}, "stream"),
        ({"stream": "true", "n": "2"}, "n"),
        ({"width": "4096"}, "width"),
        ({"num_images[]": "9"}, "num_images[]"),
        ({"image": "https://example.com/cat.png"}, "image"),
        ({"image_url[0]": "https://example.com/cat.png"}, "image_url[0]"),
        ({"output_format": "gif"}, "output_format"),
        ({"model": BY_KIND, "size": "512x512"}, "size"),
        ({"files": [("other", ("a.png", PICTURE))]}, "other"),
        ({"files": [("mask", ("a.png", PICTURE))]}, "image"),
        ({"files": [("image[]", ("a.png", b"x"))] * 17}, "image"),
    ],
)
def test_what_cannot_be_asked_is_told_by_its_field(
    caller: Caller, upstream: FakeUpstream, fields: dict[str, Any], param: str
) -> None:
    answer = ask(caller, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert upstream.requests == []
    assert caller.balance() == (CREDIT, 0)


@pytest.mark.parametrize(
    "image", [{"image_url": f"data:image/png;base64,{DATA}"}, {"image_url": "https://example.com/cat.png"},
              {"file_id": "file-1"}],
)  # fmt: skip
def test_json_is_told_how_images_are_sent(
    caller: Caller, upstream: FakeUpstream, image: dict[str, str]
) -> None:
    with caller.http as http:
        answer = http.post("/images/edits", json={"model": BY_IMAGE, "prompt": "A hat", "images": [image]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_value")
    assert error["message"] == (
        'Send the body as multipart/form-data, with each image as a file named "image" or "image[]".'
    )
    assert upstream.requests == []
    assert caller.balance() == (CREDIT, 0)
