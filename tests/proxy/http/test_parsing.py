"""Bodies as they are cut into fields: what stands twice in an object is sent on once, as it was read."""

import json
from typing import Any

import pytest

from proxy.errors import APIError
from proxy.http.parsing import read_payload


def fields(tools: str, beside: str = "") -> dict[str, bytes]:
    written = f'{{"model":"m","tools":{tools}{beside}}}'
    return {name: bytes(value) for name, value in read_payload(written.encode()).fields.items()}


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('[{"type":"web_search","type":"function"}]', [{"type": "function"}]),
        ('[{"type":"web_search","a":1,"\\u0074ype":"function"}]', [{"type": "function", "a": 1}]),
        ('[{"\\u0074\\u0079pe":"web_search","\\u0074ype":"x"}]', [{"type": "x"}]),
        ('[{"type":"namespace","tools":[{"type":"mcp","type":"custom"}]}]',
         [{"type": "namespace", "tools": [{"type": "custom"}]}]),
        ('[{"type":"tool_search","execution":"server","execution":"client"}]',
         [{"type": "tool_search", "execution": "client"}]),
        ('{"type":"image_url","x":{"a":[{}],"a":5},"type":"text"}', {"type": "text", "x": {"a": 5}}),
    ],
)  # fmt: skip
def test_the_last_of_two_members_is_all_that_is_sent(written: str, kept: Any) -> None:
    assert json.loads(fields(written)["tools"]) == kept
    assert fields(written)["tools"].count(b"type") == json.dumps(kept).count("type")


@pytest.mark.parametrize(
    "written",
    [
        '[{"type": "function",  "function": {"name":"f"}}, {"type":"function"}]',
        '[{"type":"a","maximum":1e300,"minimum":1.0,"id":123456789012345678901234567890}]',
        '[{"type":"\\u0633 {\\"type\\":1,\\"type\\":2}"}]',
        '[{"properties":{"type":{"type":"string"},"Type":{"type":"string"}},"type":"object"}]',
        '{"a":1,"a":2}',  # of what has no types, nothing depends on who reads it
    ],
)
def test_what_stands_once_stays_as_it_was_written(written: str) -> None:
    assert fields(written)["tools"] == written.encode()


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 6_000])  # each another value if written anew
def test_what_cannot_be_written_anew_is_refused(number: str) -> None:
    with pytest.raises(APIError) as refused:
        fields(f'[{{"type":"web_search","type":"function","x":{number}}}]')
    assert refused.value.code == "invalid_json"
    once = f'[{{"type":"function","x":{number}}}]'
    assert fields(once)["tools"] == once.encode()
