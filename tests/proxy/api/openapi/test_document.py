"""The OpenAPI document is valid, complete, and true of what the API really answers."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from drf_spectacular.validation import validate_schema

from proxy.api import urls
from proxy.api.metered_view import MeteredView
from proxy.api.openapi.document import OF_NO_OPERATION
from proxy.api.service import OpenView
from proxy.dashboard.docs import examples
from proxy.errors import ERRORS
from proxy.limits.admission import Admission, Limits
from tests.fake_upstream import STREAM, FakeUpstream, stream_events
from tests.live import WebProcess
from tests.proxy.api.conftest import MODEL, Caller

Document = dict[str, Any]
METHODS = {"get", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def document(web: WebProcess) -> Document:
    response = httpx.get(f"{web.url}/v1/openapi.json")  # no key
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    read: Document = response.json()
    return read


def check(document: Document, name: str, value: Any) -> None:
    """Raises jsonschema.ValidationError where `value` is no such component."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            yield path, method, item[method]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


# --- the document ------------------------------------------------------------------------------------------------


def test_it_is_valid_openapi_31_and_its_schemas_are_valid_json_schema(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    validate_schema(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_to_a_component_and_every_component_is_named(document: Document) -> None:
    named = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert named <= set(document["components"]["schemas"])
    # Inside the event stream.
    assert set(document["components"]["schemas"]) - named == {"ChatCompletionChunk"}


def test_every_address_of_the_api_is_in_it_and_no_other(document: Document) -> None:
    served = {
        "/"
        + str(pattern.pattern)
        .replace("<path:", "{")
        .replace("<str:", "{")
        .replace(">", "}")
        .removeprefix("v1/")
        for pattern in urls.urlpatterns
        if not issubclass(pattern.callback.cls, OpenView)  # type: ignore[attr-defined]
    }
    assert set(document["paths"]) == served
    for path, method, operation in operations(document):
        needed: list[Document] = [{"key": []}]
        if path.startswith("/public/"):
            needed = [{}]
        elif path.startswith("/manage/"):
            needed = [{"adminKey": []}]
        assert operation.get("security", [{}]) == needed, (path, method)
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_the_server_is_the_base_url_of_sdks(document: Document, web: WebProcess) -> None:
    assert document["servers"] == [{"url": f"{web.url}/v1"}]
    assert document["paths"]["/public/models.json"]["servers"] == [{"url": web.url}]


def test_every_error_has_an_example_under_its_status(document: Document) -> None:
    shown = {}
    for _path, _method, operation in operations(document):
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                content = response["content"]["application/json"]
                [kind] = references(content["schema"])
                for example in content["examples"].values():
                    check(document, kind.rpartition("/")[2], example["value"])
                    if kind.endswith("/AnthropicError"):
                        continue
                    shown[example["value"]["error"]["code"]] = (int(status), example["value"]["error"])
    assert set(shown) == set(ERRORS) - OF_NO_OPERATION
    for code, (status, error) in shown.items():
        assert (status, error["type"], error["message"]) == ERRORS[code]


def test_every_operation_says_what_it_takes_and_gives(document: Document) -> None:
    for path, method, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        [answered] = (each for status, each in operation["responses"].items() if status in {"200", "201"})
        assert answered["content"], path
        if method in {"post", "patch"}:
            [asked] = operation["requestBody"]["content"].values()
            [kind] = references(asked["schema"])
            needed = document["components"]["schemas"][kind.rpartition("/")[2]].get("required")
            assert operation["requestBody"]["required"] == bool(needed), path
            for example in asked.get("examples", {}).values():
                check(document, kind.rpartition("/")[2], example["value"])


def test_examples_are_what_their_schemas_say(document: Document) -> None:
    completion = document["paths"]["/chat/completions"]["post"]
    asked = completion["requestBody"]["content"]["application/json"]
    for example in asked["examples"].values():
        check(document, "ChatCompletionRequest", example["value"])
    answered = completion["responses"]["200"]["content"]
    [whole] = answered["application/json"]["examples"].values()
    check(document, "ChatCompletion", whole["value"])
    [streamed] = answered["text/event-stream"]["examples"].values()
    *events, done = streamed["value"].strip().split("\n\n")
    assert done == "data: [DONE]"
    for event in events:
        check(document, "ChatCompletionChunk", json.loads(event.removeprefix("data: ")))


# --- the API as it is --------------------------------------------------------------------------------------------


def test_real_answers_are_what_the_document_says(document: Document, caller: Caller) -> None:
    answer = caller.ask()
    check(document, "ChatCompletion", answer.json())
    described = document["paths"]["/chat/completions"]["post"]["responses"]["200"]["headers"]
    # Of chat nothing is left out, and this is no repeat.
    unless = {"x-hamiran-left-out", "idempotent-replayed", "x-hamiran-original-request-id"}
    unless |= {name for name in described if name.endswith("-day")}  # the day of this key is not limited
    assert set(described) - unless <= set(answer.headers)
    assert set(Admission(0, 0, 0, 0, 0).headers(Limits(1, 1, None, 1, 1))) <= set(described)
    with caller.http as http:
        check(document, "ModelList", http.get("/models").json())
        check(document, "Model", http.get(f"/models/{MODEL}").json())
        check(document, "Error", http.get("/models/unknown").json())


def test_real_reads_are_what_the_document_says(document: Document, caller: Caller) -> None:
    request_id = caller.ask().headers["x-request-id"]
    with caller.http as http:
        check(document, "Balance", http.get("/balance").json())
        check(document, "Key", http.get("/key").json())
        check(document, "Request", http.get(f"/requests/{request_id}").json())
        check(document, "RequestList", http.post("/requests/lookup", json={"ids": [request_id, "x"]}).json())
        every = {"group_by": "day,key,model,endpoint,user"}
        check(document, "UsageList", http.get("/usage", params=every).json())
        check(document, "TransactionList", http.get("/transactions").json())
    check(document, "PublicModelList", httpx.get(f"{caller.web.url}/public/models.json").json())
    check(document, "PublicPriceList", httpx.get(f"{caller.web.url}/public/prices/history.json").json())
    check(document, "Status", httpx.get(f"{caller.web.url}/public/status.json").json())


def test_real_streams_are_what_the_document_says(
    document: Document, caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM)
    answer = caller.ask(stream=True, stream_options={"include_usage": True})
    *events, done = answer.text.strip().split("\n\n")
    assert done == "data: [DONE]"
    for event in events:
        check(document, "ChatCompletionChunk", json.loads(event.removeprefix("data: ")))


def test_it_is_not_sent_again_to_who_has_it(document: Document, caller: Caller) -> None:
    url = f"{caller.web.url}/v1/openapi.json"
    first = httpx.get(url)
    again = httpx.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-length" not in again.headers
    assert httpx.get(url, headers={"If-None-Match": '"another"'}).content == first.content
    assert (httpx.head(url).status_code, httpx.head(url).content) == (200, b"")
    assert httpx.post(url).json()["error"]["code"] == "method_not_allowed"


def test_a_web_process_loads_the_generator_only_when_it_is_asked_for() -> None:
    program = "import config.asgi, proxy.api.urls, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "proxy.api.chat_completions.view" in ran.stdout.split()
    assert "drf_spectacular" not in ran.stdout


@pytest.mark.parametrize("kind", ["whole", "streamed"])
@pytest.mark.parametrize("slug", ["curl", "python"])
def test_the_examples_of_the_reference_run_as_they_stand(
    caller: Caller, upstream: FakeUpstream, slug: str, kind: str
) -> None:
    if slug == "curl" and shutil.which("curl") is None:
        pytest.skip("needs curl")
    if kind == "streamed":
        upstream.script = stream_events(*STREAM)
    [example] = [example for example in examples.EXAMPLES if example.slug == slug]
    written = example.written(base_url=caller.web.url, key=caller.key, model_id=MODEL)
    shell = ["sh"] if slug == "curl" else [sys.executable]
    ran = subprocess.run(
        [*shell, "-c", getattr(written, kind)], check=True, capture_output=True, text=True, timeout=60
    )
    assert "Hel" in ran.stdout  # of "Hello!", which the stream cuts in two
    assert caller.usage().stream == (kind == "streamed")


def test_every_operation_that_is_charged_takes_an_idempotency_key(document: Document) -> None:
    taking = {
        path
        for path, operations in document["paths"].items()
        if any(each["name"] == "Idempotency-Key" for each in operations.get("post", {}).get("parameters", ()))
        and not path.startswith("/manage/")
    }
    metered = {
        "/" + str(pattern.pattern).removeprefix("v1/")
        for pattern in urls.urlpatterns
        if issubclass(pattern.callback.cls, MeteredView)  # type: ignore[attr-defined]
    }
    assert taking == metered
    assert len(metered) == 11
    for path in metered:
        refusals = document["paths"][path]["post"]["responses"]
        said = {code for status in ("409", "422") for code in codes_in(refusals[status])}
        assert said >= {"request_in_progress", "idempotency_replayed", "idempotency_mismatch"}


def codes_in(response: Document) -> set[str]:
    examples = response["content"]["application/json"]["examples"]
    return {example["value"]["error"]["code"] for example in examples.values()}
