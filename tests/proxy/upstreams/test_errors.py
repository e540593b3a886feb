"""What upstreams' errors mean: the forms that real servers answer with, whose fault each is, and what is told."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.upstreams.calls import UpstreamFailed, UpstreamRefusal, judged
from proxy.upstreams.errors import error_in, error_of, retry_after_seconds, status_of
from tests.proxy.factories import served_route

NOW = datetime(2026, 11, 29, 20, 0, 0, 250_000, tzinfo=UTC)
KEY = "sk-acme-4f9a8b7c6d5e1234"
ROUTE = served_route(
    1, api_key=KEY, base_url="https://llm.acme-cloud.example:8443/v1", upstream_model="acme/model-7b"
)


def raw(error: Any) -> dict[str, Any]:
    """An error as OpenRouter wraps it."""
    metadata = {"raw": error if isinstance(error, str) else json.dumps(error), "provider_name": "Acme"}
    return {"error": {"message": "Provider returned error", "code": 400, "metadata": metadata}}


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"message": "too hot", "type": "x", "param": None, "code": None}},
        [{"error": {"code": 400, "message": "too hot", "status": "INVALID_ARGUMENT"}}],
        {"error": "too hot"},
        {"error": "too hot", "error_type": "validation"},
        {"error": json.dumps({"error": {"message": "too hot"}})},
        {"error": {"message": json.dumps({"error": {"message": "too hot"}}), "code": 400}},
        {"object": "error", "message": "too hot", "type": "BadRequestError", "param": None, "code": 400},
        {"detail": "too hot"},
        {"detail": ["too hot"]},
        {"detail": [{"type": "value_error", "loc": ["body"], "msg": "too hot"}]},
        {"detail": {"error": {"message": "too hot"}}},
        {"detail": {"error": "too hot"}},
        {"detail": {"message": "too hot", "code": 1}},
        {"message": "too hot"},
        {"id": "x", "message": "too hot", "code": 400},
        {"code": 400, "msg": "too hot"},
        {"error_code": 336_003, "error_msg": "too hot"},
        {"type": "about:blank", "title": "too hot", "status": 400},
        {"type": "about:blank", "title": "Bad Request", "detail": "too hot", "status": 400},
        {"type": "error", "error": {"type": "invalid_request_error", "message": "too hot"}},
        {"success": False, "errors": [{"code": 7003, "message": "too hot"}]},
        {"choices": [{"index": 0, "delta": {}}], "error": {"message": "too hot"}},
        raw({"error": {"message": "too hot"}}),
        raw({"detail": "too hot"}),
        raw("too hot"),
        raw(json.dumps(raw({"object": "error", "message": "too hot"}))),
    ],
    ids=lambda answer: json.dumps(answer)[:60],
)
def test_every_form_of_an_error_is_read(answer: Any) -> None:
    found = error_of(answer)
    assert found is not None
    assert found["message"] == "too hot"


@pytest.mark.parametrize(
    "answer",
    [
        None, [], {}, 5, "text", [[]], {"error": None}, {"error": {}}, {"error": ""},
        {"choices": [{"index": 0, "delta": {"content": "a"}}]},
        {"choices": [{"index": 0, "message": {"content": "a"}}], "error": None, "message": "ok", "detail": "x"},
        {"choices": [], "usage": {"total_tokens": 1}}, {"object": "chat.completion.chunk", "choices": []},
        {"message": {"role": "assistant", "content": "a"}}, {"errors": []}, {"message": ""},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_error_is_none(answer: Any) -> None:
    assert error_of(answer) is None


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"message": "overloaded", "code": 503}, "overloaded"),
        ({"code": 503}, ""),
        ("overloaded", "overloaded"),
        (None, ""),
        ([], ""),
    ],
)
def test_an_event_that_is_called_error_is_one(event: Any, message: str) -> None:
    found = error_of(event, named=True)
    assert found is not None
    assert found["message"] == message


def test_half_a_surrogate_is_no_reason_to_fail() -> None:
    error = error_in(b'{"error": {"message": "no \\ud83d", "param": "\\ud83d", "code": "\\ud83d"}}')
    refusal = judged(400, error, ROUTE)
    assert isinstance(refusal, UpstreamRefusal)
    assert json.dumps(refusal.body(), ensure_ascii=False).encode()
    assert refusal.message == "no ?"


def test_what_fastapi_found_is_told_field_by_field() -> None:
    faults = [
        {"type": "missing", "loc": ["body", "messages", 0, "role"], "msg": "Field required"},
        {"type": "int_type", "loc": ["body", "max_tokens"], "msg": "Input should be a valid integer"},
    ]
    found = error_of({"detail": faults})
    assert found is not None
    assert found["message"] == "messages.0.role: Field required; max_tokens: Input should be a valid integer"
    assert found["param"] == "messages.0.role"


@pytest.mark.parametrize("depth", [4, 500])
def test_errors_within_errors_are_followed_only_so_far(depth: int) -> None:
    error: Any = "too hot"
    for _ in range(depth):
        error = {"detail": error}
    assert error_of(error) is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"detail": "too hot"}', "too hot"),
        (b"messages[0]: missing field `content` at line 1", "messages[0]: missing field `content` at line 1"),
        (b"<html><h1>Bad Request", None),
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b"[" * 100_000, None),
        (b'{"detail": "too hot", "n": NaN}', "too hot"),
    ],
)
def test_a_body_may_be_words_but_no_page(body: bytes, message: str | None) -> None:
    assert error_in(body).get("message") == message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 400}, 400),
        ({"code": "400"}, 400),
        ({"code": "tool_use_failed", "status_code": 422}, 422),
        ({"status": "INVALID_ARGUMENT", "code": 503}, 503),
        (error_of({"error": "no", "status": 503}), 503),
        ({"type": "invalid_request_error", "code": None}, 400),
        ({"type": "BadRequestError"}, 400),
        ({"code": "context_length_exceeded"}, 400),
        ({"type": "server_error", "code": "rate_limit_exceeded"}, 429),
        ({"type": "server_error"}, None),
        ({"code": 20_012}, None),
        ({"code": True}, None),
        ({"code": "words", "status": 200}, None),
        ({}, None),
    ],
)
def test_the_status_that_an_error_names_is_found(error: dict[str, Any], status: int | None) -> None:
    assert status_of(error) == status


# --- whose fault -------------------------------------------------------------------------------------------------


def judge(status: int, answer: Any, **more: Any) -> UpstreamRefusal | UpstreamFailed:
    return judged(status, error_of(answer) or {}, ROUTE, **more)


def refused(status: int, answer: Any) -> UpstreamRefusal:
    found = judge(status, answer)
    assert isinstance(found, UpstreamRefusal), str(found)
    return found


def failed(status: int, answer: Any) -> UpstreamFailed:
    found = judge(status, answer)
    assert isinstance(found, UpstreamFailed), found.message
    assert str(found).startswith(f"status {status}")
    return found


@pytest.mark.parametrize("status", [400, 409, 413, 415, 416, 418, 422, 451])
def test_what_is_said_of_the_request_keeps_its_status_and_words(status: int) -> None:
    refusal = refused(status, {"error": {"message": "too hot", "code": "hot", "param": "temperature"}})
    assert (refusal.status, refusal.message, refusal.code, refusal.param) == (
        status,
        "too hot",
        "hot",
        "temperature",
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "Your input was flagged"),
        (403, "openai/gpt-oss requires moderation on Acme. Your input was flagged for \"violence\""),
        (403, "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"),
        (403, "The response was filtered due to the prompt triggering our content management policy."),
        (401, "The prompt was flagged by our moderation."),
        (404, "No endpoints found that support image input"),
    ],
)  # fmt: skip
def test_what_was_said_is_refused_with_whatever_status(status: int, message: str) -> None:
    refusal = refused(status, {"error": {"message": message, "code": status}})
    assert refusal.status == status
    assert refusal.code is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, "Incorrect API key provided: sk-acme**1234. Find yours at https://llm.acme-cloud.example/keys."),
        (401, ""),
        (402, "This request requires more credits, or fewer max_tokens."),
        (403, "Country, region, or territory not supported"),
        (403, "Project acme does not have access to model acme/model-7b"),
        (403, ""),
        (404, "The model `model-7b` does not exist or you do not have access to it."),
        (404, "model \"model-7b\" not found, try pulling it first"),
        (404, "models/gemini-9 is not found for API version v1beta"),
        (404, {"message": "Not Found"}),
        (405, "Method Not Allowed"),
        (407, ""),
        (410, "This model was retired."),
        (400, "Your credit balance is too low to access the API. Please go to Plans & Billing to buy credits."),
        (400, "This organization has been disabled."),
        (400, "API key not valid. Please pass a valid API key."),
        (400, "Model Not Exist"),
        (400, "acme/model-7b is not a valid model ID"),
        (400, "Invalid model name passed in model=acme/model-7b. Call `/v1/models` to view available models"),
        (400, {"message": "Quota exceeded", "code": "insufficient_quota"}),
        (400, {"message": "x", "code": "billing_hard_limit_reached"}),
        (403, {"message": "x", "type": "permission_error"}),
        (403, "Your access was terminated due to violation of our policies."),
        (400, "User location is not supported for the API use."),
    ],
)  # fmt: skip
def test_what_is_between_the_operator_and_the_upstream_is_a_failure_without_words(
    status: int, error: Any
) -> None:
    failure = failed(status, {"error": error})
    assert failure.operators
    assert not failure.passing


@pytest.mark.parametrize(
    ("status", "passing"), [(302, False), (408, True), (425, True), (500, True), (503, True), (529, True)]
)
def test_an_upstream_in_trouble_has_failed(status: int, passing: bool) -> None:
    failure = failed(status, {"error": "engine is dead"})
    assert (failure.operators, failure.passing) == (False, passing)


@pytest.mark.parametrize(
    "message",
    [
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        'Failed to parse tools: Missing tool function: {"type":"function"}; tools = [',
        'Failed to parse messages: Missing \'role\' in message: {"content":"x"}',
        "Unknown reasoning format: x",
        "Cannot use both json_schema and grammar",
        "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...",
        "this model is missing data required for image input",
        "registry.ollama.ai/library/acme:latest does not support tools",
        "This model doesn't support image_url content",
        "acme is not a multimodal model",
        "Images are not supported by this model",
        "Cannot process audio with this model",
        "This model only supports text input",
    ],
)
@pytest.mark.parametrize("status", [500, 501])
def test_a_500_that_is_the_requests_fault_is_a_400_with_its_words(status: int, message: str) -> None:
    refusal = refused(status, {"error": {"code": status, "message": message, "type": "server_error"}})
    assert (refusal.status, refusal.code, refusal.type) == (400, None, "invalid_request_error")
    assert refusal.message.partition(" - ")[0][-12:] == message.partition(" - ")[0][-12:]


FULL = {
    "llama.cpp": (400, {"error": {
        "code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 12_024, "n_ctx": 2_048,
        "message": "request (12024 tokens) exceeds the available context size (2048 tokens), try increasing it"}}),
    "llama.cpp of before": (500, {"error": {
        "code": 500, "type": "server_error", "message": "the request exceeds the available context size."}}),
    "LiteLLM": (400, {"error": {
        "message": "litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - This model's "
        "maximum context length is 16385 tokens. model=acme/model-7b. Received Model Group=model-7b\n"
        "Available Model Group Fallbacks=None", "type": None, "param": None, "code": "400"}}),
    "vLLM": (400, {"object": "error", "code": 400, "type": "BadRequestError", "message":
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."}),
    "vLLM's decoder": (400, {"error": {"code": 400, "message":
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096."}}),
    "OpenAI": (400, {"error": {"message": "x", "code": "context_length_exceeded", "param": "messages"}}),
    "OpenAI in words": (400, {"error": {"message": "Your input exceeds the context window of this model."}}),
    "Gemini": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message":
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."}}]),
    "Anthropic": (400, {"error": {"message": "prompt is too long: 208310 tokens > 200000 maximum"}}),
    "Ollama": (400, {"error": "the input length exceeds the context length"}),
    "TGI": (422, {"error_type": "validation", "error":
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 and 200"}),
    "Bedrock": (400, {"message": "Input is too long for requested model."}),
    "SGLang": (400, {"object": "error", "message":
        "The input (5000 tokens) is longer than the model's context length (4096 tokens)."}),
    "xAI": (400, {"error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}),
    "Moonshot": (400, {"error": {"message": "Invalid request: Your request exceeded model token limit: 8192"}}),
    "Together, with 403": (403, {"error": {"message": "Input token count exceeds the context length of the model"}}),
    "OpenRouter": (400, raw({"error": {"message": "x", "code": "context_length_exceeded"}})),
    "413": (413, {"detail": "Prompt exceeds the context window: maximum context length 100"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FULL)
def test_a_full_context_has_one_code_whatever_the_upstream_calls_it(name: str) -> None:
    refusal = refused(*FULL[name])
    assert (refusal.status, refusal.code, refusal.param) == (400, "context_length_exceeded", None)
    assert refusal.body()["error"]["type"] == "invalid_request_error"
    assert refusal.message
    assert "model-7b" not in refusal.message
    assert "litellm" not in refusal.message.lower()


# --- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "secrets"),
    [
        (f"bad call to https://llm.acme-cloud.example:8443/v1 with {KEY}", [KEY, "acme", "8443"]),
        ("cannot reach llm.acme-cloud.example: refused", ["acme"]),
        ("bad key sk-acme-********1234, sk-proj-****1234, sk-…1234 or sk-ac...1234", ["1234", "acme", "sk-"]),
        ("bad key AbCd****wxyz", ["AbCd", "wxyz"]),
        ("the token 4f9a8b7c6d5e is not good", ["4f9a8b7c"]),
        ("token hf_AbCdEfGhIjKl, gsk_1234567890 and AIzaSyA1234567890abc", ["AbCd", "123456"]),
        ("sent Authorization: Bearer abc.def-123", ["abc.def"]),
        ("limit of org-AbC123 and organization org_01hx, proj_9x and user-AbC123xyz", ["AbC", "01hx", "9x"]),
        ("no such tool in project acme-prod", ["acme-prod"]),
        ("no such tool in Project `acme`", ["acme"]),
        ("no such tool in project: 'acme prod'", ["acme"]),
        ("bad value for projects/123456789012/locations/us-central1/x", ["1234", "us-central1"]),
        ("bad value for consumer 'project_number:123456'", ["123456"]),
        ("bad value in workspace acme, tenant 0b1c2d3e-0000-4000-8000-abcdefabcdef", ["acme", "0b1c2d3e"]),
        ("see https://console.acme.com/x?y=1 or platform.acme.io/docs, mail ops@acme.com", ["acme", "console"]),
        ("bad upstream 10.0.0.5:8000, [fe80::1]:80, localhost:8000", ["10.0", "fe80", "8000"]),
        ("arn:aws:bedrock:us-east-1:123456789012:model/x is busy", ["aws", "1234"]),
        ("The model `acme/model-7b` does not take this", ["acme", "model-7b"]),
        ("model-7b does not take this; try openai/model-7b", ["model-7b", "openai"]),
        ("Request req_011CSHoEeqs5C35K is too hot", ["011CS"]),
        ("litellm.BadRequestError: AcmeException - too hot. Received Model Group=model-7b", ["litellm", "Acme", "7b"]),
    ],
)  # fmt: skip
def test_the_operators_names_are_left_out_of_an_upstreams_words(said: str, secrets: list[str]) -> None:
    for answer in ({"error": {"message": said}}, {"detail": said}, raw(said)):
        message = refused(400, answer).message
        assert not [secret for secret in secrets if secret in message], message


@pytest.mark.parametrize("name", ["code", "param"])
def test_code_and_param_tell_no_names_either(name: str) -> None:
    said = f"{KEY} at https://llm.acme-cloud.example:8443/v1"
    body = json.dumps(refused(400, {"error": {"message": "no", name: said}}).body())
    assert "acme" not in body


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Your prompt was flagged. If this is wrong, contact us through our help center. Be kind.",
            "Your prompt was flagged. Be kind.",
        ),
        (
            "Request too large for x in organization org-1 on tokens per min (TPM): Limit 3, Requested 4. The input "
            "must be reduced. Visit https://platform.acme.com/account/rate-limits to learn more.",
            "The input must be reduced.",
        ),
        ("The model `acme/model-7b` takes no tools.", "The model takes no tools."),
        ("Bad value for model acme/model-7b.", "Bad value for the model."),
        ("Cannot fetch https://shop.example/account/billing.png.", "Cannot fetch [redacted]."),
    ],
)
def test_sentences_about_the_account_are_left_out(said: str, told: str) -> None:
    assert refused(400, {"error": {"message": said}}).message == told


@pytest.mark.parametrize(
    "said",
    [
        "temperature must be at most 2",
        "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an integer.",
        "Unexpected fields in the request: {'n_predict', 'top_k'}",
        "Invalid 'tools[0].function.name': 'billing account' does not match the pattern '^[a-zA-Z0-9_-]+$'.",
        "Field 'max_tokens': [json.exception.type_error.302] type must be number, but is string",
        "The project does not say which schema is meant; use a user-defined one and **read** it (1234 bytes).",
        "JSON schema error at #: unrecognized type wat",
    ],
)
def test_words_about_the_request_stay_as_they_are(said: str) -> None:
    assert refused(400, {"error": {"message": said}}).message == said


@pytest.mark.parametrize("code", [400, "400", "", "two words", 5.0, None, ["x"], "-"])
def test_a_code_is_a_word_or_nothing(code: Any) -> None:
    assert refused(422, {"error": {"message": "no", "code": code}}).body()["error"]["code"] is None


@pytest.mark.parametrize(
    "said", ["a" * 200_000, "a." * 100_000, "model " * 40_000, "'" * 100_000, "1:" * 50_000]
)
def test_long_words_cost_little_and_are_cut(said: str) -> None:
    begun = time.process_time()
    assert len(refused(400, {"error": {"message": said}}).message) < 10_000
    assert time.process_time() - begun < 5  # a pattern that backtracks takes minutes


def test_an_error_without_words_still_says_something() -> None:
    assert refused(400, {}).message
    assert refused(422, {"error": {"message": {"no": "text"}}}).message
    assert refused(413, {}).message == "The request body is too large."


# --- waits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7), ("12.5", 13), ("0", 1), ("0.2", 1), (" 30 ", 30), ("86400", 86_400), ("121", 121),
        ("Sun, 29 Nov 2026 20:00:30 GMT", 30), ("Sunday, 29-Nov-26 20:00:30 GMT", 30),
        ("Sun Nov 29 20:00:30 2026", None), ("Sun, 29 Nov 2026 19:00:00 GMT", 1),
        ("", None), ("soon", None), ("-1", None), ("86401", None), ("9" * 30, None), ("1e3", None), ("nan", None),
        ("٣", None), ("Sun, 99 Nov 2026 20:00:30 GMT", None), ("x" * 10_000, None),
    ],
)  # fmt: skip
def test_a_wait_is_read_in_seconds_rounded_up(header: str, seconds: int | None) -> None:
    assert retry_after_seconds(header, {}, now=NOW) == seconds


def test_geminis_own_wait_is_read_too() -> None:
    error = {"details": [{"@type": "x"}, {"@type": "RetryInfo", "retryDelay": "34.07s"}]}
    assert retry_after_seconds("", error, now=NOW) == 35
    assert retry_after_seconds("7", error, now=NOW) == 7


@pytest.mark.parametrize(
    ("header", "waits"),
    [
        ("7", {"Retry-After": "7", "retry-after-ms": "7000"}),
        ("", {"Retry-After": "5", "retry-after-ms": "5000"}),
        ("60", {"Retry-After": "60", "retry-after-ms": "60000"}),
        ("61", {"Retry-After": "61", "retry-after-ms": "61000", "x-should-retry": "false"}),
    ],
)
def test_a_rate_limit_is_passed_on_in_our_words_with_its_wait(header: str, waits: dict[str, str]) -> None:
    found = judge(429, {"error": {"message": "org-1 is over its quota"}}, retry_after=header)
    assert isinstance(found, UpstreamRefusal)
    assert (found.status, found.code, found.headers) == (429, "rate_limit_exceeded", waits)
    assert "org-1" not in found.message


def test_the_wait_of_an_upstream_in_trouble_is_kept() -> None:
    found = judge(503, {}, retry_after="12.5")
    assert isinstance(found, UpstreamFailed)
    assert found.retry_after_seconds == 13
