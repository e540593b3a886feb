"""GET /v1/models, OPTIONS, HEAD, health, and slashes at the end."""

import json
from datetime import UTC, datetime
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.proxy.api.conftest import EMBEDDING_MODEL, FREE_MODEL, HELLO, MODEL, Caller


def test_the_list_is_openais_and_tells_more(sdk: openai.OpenAI, caller: Caller) -> None:
    models = {model.id: model for model in sdk.models.list()}
    assert {MODEL, FREE_MODEL, EMBEDDING_MODEL} <= models.keys()
    assert (models[MODEL].object, models[MODEL].owned_by) == ("model", "hamiran")
    told = dict(models[MODEL].model_extra or {})
    valid_from = told["pricing"].pop("valid_from")
    assert datetime.fromisoformat(valid_from) <= datetime.now(UTC)
    assert told == {
        "context_length": 100_000,
        "max_output_tokens": 1_000,
        "endpoints": ["chat", "responses", "messages"],
        "modalities": {"input": ["text", "image", "audio", "file"], "output": ["text"]},
        "pricing": {
            "currency": "toman",
            "per_million": {"input": 100, "output": 300, "cached_input": 25},
            "dollar_basis": None,
        },
        "announced": [],
        "limits": limits_of(caller),
    }
    assert models[EMBEDDING_MODEL].model_dump()["endpoints"] == ["embeddings"]


def test_the_limits_told_are_the_keys(make_caller: Any) -> None:
    caller = make_caller(rpm=7, tpm=9_000, concurrency=2)
    with caller.http as http:
        for one in http.get("/models").json()["data"]:
            assert one["limits"] == {"rpm": 7, "tpm": 9_000, "concurrency": 2, "rpd": None, "tpd": None}
        assert http.get(f"/models/{MODEL}").json()["limits"] == limits_of(caller)


def limits_of(caller: Caller) -> dict[str, int | None]:
    tier = caller.wallet.user.tier
    return {name: getattr(tier, name) for name in ("rpm", "tpm", "concurrency", "rpd", "tpd")}


# --- in Anthropic's shape -------------------------------------------------------------------------------------


def anthropics(caller: Caller, path: str = "/models", **query: Any) -> httpx.Response:
    with caller.http as http:
        return http.get(path, params=query, headers={"anthropic-version": "2023-06-01"})


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [one["id"] for one in response.json()["data"]]


def test_an_anthropic_version_gets_anthropics_shape(caller: Caller) -> None:
    listed = anthropics(caller, limit=1_000).json()
    assert (listed["has_more"], listed["first_id"]) == (False, listed["data"][0]["id"])
    assert listed["last_id"] == listed["data"][-1]["id"]
    one = anthropics(caller, f"/models/{MODEL}").json()
    assert one in listed["data"]
    created_at = datetime.strptime(one.pop("created_at"), "%Y-%m-%dT%H:%M:%S%z")
    assert created_at <= datetime.now(UTC)
    assert one == {
        "type": "model",
        "id": MODEL,
        "display_name": MODEL,
        "description": "",
        "lifecycle": "active",
        "max_input_tokens": 100_000,
        "max_tokens": 1_000,
    }


def test_the_list_is_paged_in_both_directions(caller: Caller) -> None:
    every = ids(anthropics(caller, limit=1_000))
    assert ids(anthropics(caller)) == every[:20]
    forwards: list[str] = []
    while len(forwards) < len(every):
        page = anthropics(caller, limit=3, **({"after_id": forwards[-1]} if forwards else {}))
        forwards += ids(page)
        assert page.json()["has_more"] == (len(forwards) < len(every))
    assert forwards == every
    backwards = anthropics(caller, limit=2, before_id=every[3])
    assert (ids(backwards), backwards.json()["has_more"]) == (every[1:3], True)
    beginning = anthropics(caller, limit=5, before_id=every[3])
    assert (ids(beginning), beginning.json()["has_more"]) == (every[:3], False)


def test_a_page_may_be_empty(caller: Caller) -> None:
    every = ids(anthropics(caller, limit=1_000))
    for query in ({"after_id": every[-1]}, {"before_id": every[0]}):
        page = anthropics(caller, **query).json()
        assert page == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "٢"}, "limit"),
        ({"limit": "9" * 5_000}, "limit"),
        ({"after_id": "no such"}, "after_id"),
        ({"before_id": ""}, "before_id"),
        ({"before_id": MODEL, "after_id": MODEL}, "before_id"),
    ],
)
def test_a_page_that_cannot_be_is_refused(caller: Caller, query: dict[str, str], param: str) -> None:
    refused = anthropics(caller, **query)
    assert refused.status_code == 400
    told = refused.json()
    assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")
    assert told["error"]["param"] == param
    assert told["request_id"] == refused.headers["x-request-id"]


def test_errors_have_the_shape_that_was_asked_for(caller: Caller) -> None:
    unknown = anthropics(caller, "/models/no-such")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    url, version = f"{caller.web.url}/v1/models", {"anthropic-version": "2023-06-01"}
    assert httpx.get(url, headers=version).json()["error"]["type"] == "authentication_error"
    with caller.http as http:
        assert http.get("/models/no-such").json()["error"]["code"] == "model_not_found"


def test_anthropics_client_pages_through_all_models(caller: Caller) -> None:
    every = ids(anthropics(caller, limit=1_000))
    with anthropic.Anthropic(api_key=caller.key, base_url=caller.web.url, max_retries=0) as client:
        assert [model.id for model in client.models.list(limit=3)] == every
        one = client.models.retrieve(MODEL)
        assert (one.type, one.display_name, one.max_tokens) == ("model", MODEL, 1_000)
        assert one.created_at <= datetime.now(UTC)
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("no-such")


def test_openais_list_is_whole_whatever_is_asked(caller: Caller) -> None:
    with caller.http as http:
        assert len(http.get("/models", params={"limit": 1}).json()["data"]) > 1


# --- and beside the list --------------------------------------------------------------------------------------


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
