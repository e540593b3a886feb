"""The admin's test of an upstream, at a real one: what it says, how long it took, what it used."""

import json

import pytest

from proxy.dashboard.upstreams import probe
from tests.proxy.factories import served_route


@pytest.mark.parametrize("protocol", ["chat", "messages", "responses", "completions", "embeddings"])
def test_a_real_upstream_tells_what_the_test_used(llama: dict[str, str], protocol: str) -> None:
    url = llama["embeddings" if protocol == "embeddings" else "words"]
    outcome = probe.run(served_route(1, base_url=url), protocol)
    assert (outcome.status, outcome.error) == (200, "")
    assert 0 < (outcome.first_byte_ms or 0) <= outcome.total_ms
    assert any(value > 0 for value in json.loads(outcome.usage).values() if isinstance(value, int))


def test_a_protocol_that_an_upstream_does_not_speak_is_told(llama: dict[str, str]) -> None:
    outcome = probe.run(served_route(1, base_url=llama["words"]), "moderations")
    assert not outcome.is_well
    assert "404" in outcome.error
