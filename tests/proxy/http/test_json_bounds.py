"""How large a JSON text may become is told over its bytes, without miscounting what strings hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http import json_bounds
from proxy.http.json_bounds import CONTAINERS_MAX, DEPTH_MAX, VALUES_MAX, TooDeep, TooMany


def nested(depth: int) -> bytes:
    return b'{"a":[' * (depth // 2) + b"1" + b"]}" * (depth // 2)


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * CONTAINERS_MAX + b"1]",
        b"[" + b"{}," * CONTAINERS_MAX + b"1]",
        b'{"a":"' + b'\\"' * 10 + b'","b":[' + b"[]," * CONTAINERS_MAX + b"1]}",
        b"[" + b"1," * VALUES_MAX + b"1,1]",
        b"{" + b'"a":1,' * (VALUES_MAX // 2) + b'"a":1,"a":1}',
        b"[" + b'"",' * (VALUES_MAX + 1) + b"1]",
    ],
    ids=["arrays", "objects", "behind escapes", "numbers", "members", "strings"],
)
def test_too_many_values_are_refused(text: bytes) -> None:
    with pytest.raises(TooMany):
        json_bounds.check(text)


@pytest.mark.parametrize("depth", [DEPTH_MAX + 2, 10_000])
def test_too_deep_a_text_is_refused(depth: int) -> None:
    json_bounds.check(nested(DEPTH_MAX))
    with pytest.raises(TooDeep):
        json_bounds.check(nested(depth))


@pytest.mark.parametrize(
    "content",
    [
        "{[" * VALUES_MAX,
        'if (a["b"] == "\\") { return [{"c": "\\""}]; }\n' * 30_000,
        "\\" * 1_000_001 + '"[[[',
        '{"a": [1, 2, {"b": "c\\\\"}]}' * 50_000,
        "،{«[»]}" * 100_000,
    ],
    ids=["openers", "code", "backslashes", "JSON in a string", "Persian"],
)
def test_code_in_a_prompt_is_no_structure(content: str) -> None:
    for ascii_only in (True, False):
        body = {"model": "m", "messages": [{"role": "user", "content": content}]}
        json_bounds.check(json.dumps(body, ensure_ascii=ascii_only).encode())


def test_an_agents_long_history_passes() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": [1]}'}}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "assistant", "tool_calls": [call], "content": parts}] * 20_000
    json_bounds.check(json.dumps({"messages": messages}).encode())


LEAVES = st.text(alphabet='"\\[]{},:a\n', max_size=8) | st.integers() | st.none()
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(alphabet='"\\[]{},:a', max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


def containers_and_depth(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | dict):
        return 0, 0
    inner = [containers_and_depth(each) for each in (value.values() if isinstance(value, dict) else value)]
    return 1 + sum(count for count, _ in inner), 1 + max((depth for _, depth in inner), default=0)


@given(document=DOCUMENTS, ascii_only=st.booleans())
def test_it_counts_as_a_parser_does(document: Any, ascii_only: bool) -> None:
    containers, depth = containers_and_depth(document)
    text = json.dumps(document, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_bounds, "DEPTH_MAX", depth)
        patched.setattr(json_bounds, "CONTAINERS_MAX", containers)
        json_bounds.check(text)
        if depth:
            patched.setattr(json_bounds, "DEPTH_MAX", depth - 1)
            with pytest.raises(TooDeep):
                json_bounds.check(text)
            patched.setattr(json_bounds, "CONTAINERS_MAX", containers - 1)
            with pytest.raises(TooMany):
                json_bounds.check(text)


@given(text=st.binary(max_size=60) | st.text(alphabet='"\\[]{},:', max_size=60).map(str.encode))
def test_whatever_is_no_json_is_left_to_the_parser(text: bytes) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_bounds, "DEPTH_MAX", 0)
        try:
            json_bounds.check(text)
        except (TooDeep, TooMany):
            assert b"[" in text or b"{" in text
