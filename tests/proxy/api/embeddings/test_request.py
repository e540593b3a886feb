"""What is read of a request for embeddings, and what an upstream gets of it."""

from typing import Any

import orjson

from proxy.api.embeddings.request import EmbeddingsRequest, read_request
from proxy.http.parsing import read_payload
from tests.proxy.factories import served_route


def read(value: Any = "Hello", **fields: Any) -> EmbeddingsRequest:
    return read_request(read_payload(orjson.dumps({"model": "m", "input": value, **fields})), model="m")


def sent(asked: EmbeddingsRequest) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(asked.body_for(served_route(1, upstream_model="up"), output_limit=0))
    return body


def test_what_is_not_read_passes_and_no_cap_is_sent() -> None:
    fields = {"dimensions": 8, "encoding_format": "base64", "user": "u", "input_type": "query"}
    assert sent(read([[1, 2], [3]], **fields)) == {"model": "up", "input": [[1, 2], [3]], **fields}


def test_fields_of_other_endpoints_are_left_out() -> None:
    other = {"messages": [], "stream": True, "stream_options": {}, "n": 5, "max_tokens": 5, "Input": "more"}
    assert sent(read(**other)) == {"model": "up", "input": "Hello"}


def test_nothing_is_held_for_an_output() -> None:
    asked = read(["a", "b"])
    assert (asked.output_limit, asked.answers, asked.stream) == (0, 1, False)
