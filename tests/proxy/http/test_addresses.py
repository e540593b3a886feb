"""Addresses that SDKs build wrongly of a base URL with a query."""

import anthropic
import openai
import pytest

from proxy.http.addresses import BASES, mended


@pytest.mark.parametrize(
    ("path", "query", "meant"),
    [
        ("/v1/", b"lang=fachat/completions", ("/v1/chat/completions", b"lang=fa")),
        ("/v1", b"lang=fa/chat/completions", ("/v1/chat/completions", b"lang=fa")),
        ("/v1", b"lang=fa%2Fchat%2Fcompletions", ("/v1/chat/completions", b"lang=fa")),
        ("/v1/", b"lang=en/models&limit=2", ("/v1/models", b"lang=en&limit=2")),
        ("/v1/", b"lang=famodels/a/b", ("/v1/models/a/b", b"lang=fa")),
        ("/", b"lang=fa/v1/messages", ("/v1/messages", b"lang=fa")),
        ("/", b"lang=fa/v1/messages?beta=true", ("/v1/messages", b"lang=fa&beta=true")),
    ],
)
def test_the_endpoint_is_found_behind_the_language(path: str, query: bytes, meant: tuple[str, bytes]) -> None:
    assert path in BASES
    assert mended(path, query) == meant


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", b"lang=fa"),
        ("/v1", b"lang=fa"),
        ("/", b"lang=fa/chat/completions"),
        ("/v1", b"lang=fa/v1/messages"),
        ("/v1", b"lang=fa/manage/keys"),
        ("/v1", b"lang=fa/modelsx"),
        ("/v1", b"x=1&lang=fa/models"),
        ("/v1", b"lang=\xff/models"),
    ],
)
def test_any_other_address_stays_as_it_is(path: str, query: bytes) -> None:
    assert mended(path, query) == (path, query)


def test_this_is_what_the_sdks_build() -> None:
    openais = openai.OpenAI(api_key="x", base_url="http://h/v1?lang=fa")._prepare_url("/chat/completions")
    anthropics = anthropic.Anthropic(api_key="x", base_url="http://h?lang=fa")._prepare_url("/v1/messages")
    for built, path in ((openais, "/v1/chat/completions"), (anthropics, "/v1/messages")):
        assert mended(built.path, built.query) == (path, b"lang=fa")
