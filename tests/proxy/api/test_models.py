"""GET /v1/models, OPTIONS, HEAD, health, and slashes at the end."""

import json
from typing import Any

import httpx

from tests.proxy.api.conftest import FREE_MODEL, HELLO, MODEL, Caller


def test_the_list_is_openais(caller: Caller) -> None:
    models = caller.sdk.models.list().data
    assert {MODEL, FREE_MODEL} <= {model.id for model in models}
    with caller.http as http:
        body = http.get("/models/").json()
    assert body["object"] == "list"
    assert {frozenset(model) for model in body["data"]} == {
        frozenset({"id", "object", "created", "owned_by"})
    }


def test_one_model_whose_id_has_a_slash(caller: Caller) -> None:
    assert caller.sdk.models.retrieve(MODEL).id == MODEL
    with caller.http as http:
        assert http.get(f"/models/{MODEL}/").json()["object"] == "model"
        assert http.head(f"/models/{MODEL}").status_code == 200
        assert http.head("/models").content == b""


def test_models_need_a_key(caller: Caller) -> None:
    assert httpx.get(f"{caller.web.url}/v1/models").json()["error"]["code"] == "missing_api_key"


def test_options_answers_without_a_key(caller: Caller) -> None:
    response = httpx.options(f"{caller.web.url}/v1/chat/completions")
    assert (response.status_code, response.headers["allow"]) == (204, "POST, OPTIONS")


def test_a_slash_at_the_end_does_not_matter(caller: Caller) -> None:
    with caller.http as http:
        response = http.post("/chat/completions/", json={"model": MODEL, "messages": HELLO})
    assert response.status_code == 200


def test_json_is_read_whatever_its_content_type(caller: Caller) -> None:
    with caller.http as http:
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            response = http.post(
                "/chat/completions",
                content=json.dumps({"model": MODEL, "messages": HELLO}),
                headers={"Content-Type": kind},
            )
            assert response.status_code == 200


def test_all_roles_and_kinds_of_content_pass(caller: Caller) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "be good"},
        {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
        {"role": "user", "content": ""},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{**call, "extra_content": {"google": {"x": "y"}}}],
        },
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        {"role": "function", "name": "f", "content": "done"},
    ]
    assert caller.ask(messages=messages).status_code == 200


def test_metrics_are_for_whoever_has_the_token(caller: Caller) -> None:
    caller.ask()
    url = f"{caller.web.url}/metrics"
    assert httpx.get(url).status_code == 404
    assert httpx.get(url, headers={"Authorization": "Bearer other"}).status_code == 404
    text = httpx.get(url, headers={"Authorization": "Bearer scraper"}).text
    for queue in ("authorise", "settle"):
        assert f'hamiran_ledger_batch_items_count{{queue="{queue}"}}' in text
        assert f'hamiran_ledger_waiting{{queue="{queue}"}}' in text


def test_health_says_alive_and_ready(caller: Caller) -> None:
    assert httpx.get(f"{caller.web.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{caller.web.url}/readyz").json()
    assert ready == {
        "ready": True,
        "checks": {
            "postgresql": "ok",
            "valkey": "ok",
            "migrations": "ok",
            "catalogue": "ok",
            "settlements": "ok",
        },
    }
