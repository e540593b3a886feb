"""The code that pages show: one text a language, whichever part of it a page needs."""

import pytest

from proxy.dashboard.docs.examples import BASE_URL, BODY, CURL, EXAMPLES, KEY, MODEL, NODE, PYTHON, Example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.slug)
def test_the_first_call_is_the_whole_one_without_its_system_message(example: Example) -> None:
    assert "system" in example.whole
    assert "system" not in example.first
    assert example.first.count("Hello!") == 1
    assert len(example.first.splitlines()) == len(example.whole.splitlines()) - 3


def test_a_first_call_is_short_enough_to_be_typed() -> None:
    written = CURL.written(base_url="https://api.example", key="hm-1", model_id="m")
    assert written.first == (
        "curl https://api.example/v1/chat/completions \\\n"
        '  -H "Content-Type: application/json" \\\n'
        '  -H "Authorization: Bearer hm-1" \\\n'
        "  -d '{\n"
        '    "model": "m",\n'
        '    "messages": [{"role": "user", "content": "Hello!"}]\n'
        "  }'"
    )


@pytest.mark.parametrize("example", [CURL, PYTHON, NODE], ids=lambda each: each.slug)
def test_what_stands_around_a_body_is_the_code_without_it(example: Example) -> None:
    for around, code in [(example.whole_around, example.whole), (example.streamed_around, example.streamed)]:
        before, after = around.split(BODY)
        assert code.startswith(before)
        assert code.endswith(after)
        assert MODEL not in around
        assert "messages" not in around


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.slug)
def test_an_installation_has_its_own_address_key_and_model(example: Example) -> None:
    written = example.written(base_url="https://api.example", key="hm-1", model_id="m")
    for code in (written.whole, written.streamed, written.first):
        assert "https://api.example/v1" in code
        assert not any(text in code for text in (BASE_URL, KEY, MODEL))
