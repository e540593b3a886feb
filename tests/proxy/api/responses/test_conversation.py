"""A conversation of items: what of it is known again, and what the rest of it is bounded by."""

import hashlib
import hmac
import threading
from typing import Any

from proxy.api.responses.conversation import InputItems
from proxy.catalogue.served import ServedModel
from tests.fake_upstream import FakeUpstream, stream_events
from tests.proxy.api.conftest import INPUT_PRICE, OUTPUT_PRICE, Caller
from tests.proxy.api.responses.reading import read
from tests.proxy.api.responses.upstream import HEAD, STREAM, event, response
from tests.proxy.factories import served_model
from wallet.ledger.models import Hold

FIRST: dict[str, Any] = {"role": "user", "content": "one two " * 4_000}
CALL = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
SEEN = {"type": "function_call_output", "call_id": "c", "output": "نگاه " * 100}


def known(*items: Any, **fields: Any) -> InputItems:
    conversation = read(input=[FIRST, *items], **fields).conversation
    assert conversation is not None
    return conversation


def hashes(conversation: InputItems, last: int = 32) -> list[bytes]:
    return conversation.hashes(hmac.new(b"secret", digestmod=hashlib.sha256), last=last)


def test_a_turn_is_known_again_in_the_next() -> None:
    first, second = hashes(known()), hashes(known(CALL, SEEN))
    assert second[0] == first[-1]
    assert len(second) == 3
    assert hashes(known(CALL, SEEN), last=1) == second[-1:]


def test_what_no_prompt_is_made_of_makes_no_difference() -> None:
    plain = hashes(known())
    assert hashes(known(client_metadata={"a": 1}, prompt_cache_key="k", include=[], stream=True)) == plain
    changes: dict[str, Any] = {
        "instructions": "I",
        "tools": [{"type": "custom", "name": "f"}],
        "text": {},
        "new": 1,
    }
    for name, value in changes.items():
        assert hashes(known(**{name: value})) != plain


def test_thoughts_that_only_one_upstream_reads_make_a_difference() -> None:
    sealed = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"}
    assert hashes(known(sealed, CALL, SEEN)) != hashes(
        known({**sealed, "encrypted_content": "gAAB"}, CALL, SEEN)
    )


def test_the_rest_is_bounded_by_its_bytes() -> None:
    model: ServedModel = served_model(context_tokens=10**6)
    conversation = known(CALL, SEEN)
    assert conversation.bound_after(1, model) > len("نگاه ".encode() * 100)
    assert conversation.bound_after(0, model) > conversation.bound_after(1, model)


def test_what_holds_media_or_is_short_is_not_kept() -> None:
    image = {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]}
    assert read(input=[FIRST, image]).conversation is None
    assert read(input=[CALL, SEEN]).conversation is None


def test_a_conversation_stays_where_it_began() -> None:
    items = [{"role": "developer", "content": "D"}, {"role": "user", "content": "U"}]
    assert read(input=items).affinity == read(input=[*items, CALL, SEEN]).affinity
    assert read(input=items).affinity != read(input=items[:1]).affinity
    assert read(input=items, prompt_cache_key="k").affinity == read(input="x", prompt_cache_key="k").affinity
    assert read(input="x").affinity


def test_the_second_turn_holds_near_its_cost(
    caller: Caller, native_model: str, upstream: FakeUpstream
) -> None:
    def held_for(*items: Any) -> int:
        looked, prompt = threading.Event(), 8_000 + 100 * len(items)
        used = {"input_tokens": prompt, "output_tokens": 2, "total_tokens": prompt + 2}
        end = event("response.completed", response=response(usage=used), sequence_number=9)
        upstream.script = stream_events(*HEAD, *STREAM[2:5], looked, end)
        body = {"model": native_model, "input": list(items), "stream": True, "max_output_tokens": 20}
        with caller.http as http, http.stream("POST", "/responses", json=body) as answer:
            try:
                assert answer.status_code == 200
                parts = answer.iter_raw()
                next(parts)
                held = Hold.objects.get(wallet=caller.wallet).amount_micro
            finally:
                looked.set()
            assert b"response.completed" in b"".join(parts)
        return (held - 20 * OUTPUT_PRICE) // INPUT_PRICE

    assert held_for(FIRST) > 32_000
    assert held_for(FIRST, CALL, SEEN) < 12_000
