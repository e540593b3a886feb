"""In which language an error says what to do, and where it is explained."""

import asyncio

import pytest
from django.utils import translation

from proxy import advice
from proxy.errors import ERRORS, APIError
from proxy.upstreams.calls import UpstreamRefusal

ENGLISH = "Send at least one message."


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("*", "en"),  # as fetch sends it
        ("fa", "fa"),
        ("fa-IR", "fa"),
        ("FA-ir", "fa"),
        ("fa-IR,fa;q=0.9,en-US;q=0.8,en;q=0.7", "fa"),
        ("en-US,en;q=0.9,fa;q=0.8", "en"),
        ("en;q=0.3, fa;q=0.31", "fa"),
        ("fa;q=0", "en"),
        ("en;q=0, fa;q=0", "en"),
        ("fr, de;q=0.9", "en"),
        ("fr, fa;q=0.1", "fa"),
        ("fr, fa;q=0.5, *;q=0.8", "en"),
        ("en;q=0.1, *;q=0.5", "fa"),
        ("en;q=0, *", "fa"),
        ("fa, *;q=0.5", "fa"),
        ("fa;q=0.2, *;q=0", "fa"),
        ("fas", "en"),
        ("fa;q=two", "en"),
        (";;q=,fa", "en"),
        ("fa," * 20_000, "fa"),
        ("\xff\x00", "en"),
    ],
)
def test_the_best_liked_language_is_spoken(header: str, language: str) -> None:
    assert advice.asked_language(header, "") == language


@pytest.mark.parametrize(
    ("query", "language"),
    [("lang=fa", "fa"), ("x=1&lang=fa-IR", "fa"), ("lang=FA", "fa"), ("lang=en", "en")],
)
def test_the_address_has_the_last_word(query: str, language: str) -> None:
    assert advice.asked_language("en, fa;q=0.5" if language == "fa" else "fa", query) == language


@pytest.mark.parametrize("query", ["lang=", "lang=xx", "language=fa", "lang", "%ff=%ff", "lang=fa%00"])
def test_an_address_that_names_no_language_leaves_it_to_the_header(query: str) -> None:
    assert advice.asked_language("", query) == "en"
    assert advice.asked_language("fa", query) == "fa"


def test_every_error_has_its_advice_in_both_languages() -> None:
    assert set(advice.ADVICE) == set(ERRORS)
    advice.hear("", b"")
    english = {code: APIError(code).body()["error"]["solution"] for code in ERRORS}
    assert english["messages_required"] == ENGLISH != translation_of(ENGLISH)
    advice.hear("fa", b"")
    for code, text in english.items():
        said = APIError(code).body()["error"]
        assert said["solution"] == translation_of(text)
        assert said["message"] == ERRORS[code][2]


async def test_two_requests_at_once_are_told_in_their_own_languages() -> None:
    async def ask(accept_language: str) -> list[str]:
        advice.hear(accept_language, b"")
        told = []
        for _ in range(5):
            await asyncio.sleep(0)
            told.append(APIError("messages_required").body()["error"]["solution"])
        return told

    with translation.override("fa"):
        persian, english = await asyncio.gather(ask("fa"), ask("en"))
        assert translation.get_language() == "fa"
    assert set(english) == {ENGLISH}
    assert set(persian) == {translation_of(ENGLISH)}


def translation_of(text: str) -> str:
    with translation.override("fa"):
        return translation.gettext(text)


@pytest.mark.parametrize(
    ("status", "code", "explained_as"),
    [
        (400, None, "invalid_value"),
        (400, "string_above_max_length", "invalid_value"),
        (400, "context_length_exceeded", "context_length_exceeded"),
        (400, "insufficient_balance", "invalid_value"),  # not this wallet's
        (422, "missing", "invalid_value"),
        (413, "too_large", "request_too_large"),
        (429, "insufficient_quota", "rate_limit_exceeded"),
    ],
)
def test_an_upstreams_refusal_is_advised_on_too(status: int, code: str | None, explained_as: str) -> None:
    advice.hear("", b"")
    said = UpstreamRefusal(status, {"message": "no", "code": code}).body()["error"]
    with translation.override("en"):
        assert said["solution"] == str(advice.ADVICE[explained_as])
    assert said["docs"].endswith(f"/docs/#error-{explained_as}")
