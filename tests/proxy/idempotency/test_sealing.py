"""Kept answers cannot be read, changed or moved without one of FIELD_KEYS; digests tell nothing and forget no part."""

import uuid
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from proxy.idempotency import digests, sealing

ANSWER = b'data: {"choices":[]}\n\n' * 100
REQUEST, USER = uuid.UUID(int=7), 7
OLD, NEW = "o" * 32, "n" * 32


def seal() -> bytes:
    return sealing.seal(ANSWER, request_id=REQUEST, user_id=USER)


def test_an_answer_comes_back_as_it_was() -> None:
    sealed = seal()
    assert sealing.unseal(sealed, request_id=REQUEST, user_id=USER) == ANSWER
    assert len(sealed) < len(ANSWER) / 5
    assert seal() != sealed


@pytest.mark.parametrize("about", [(uuid.UUID(int=8), USER), (REQUEST, 8)])
def test_it_is_bound_to_its_request_and_account(about: tuple[uuid.UUID, int]) -> None:
    with pytest.raises(sealing.Unreadable):
        sealing.unseal(seal(), request_id=about[0], user_id=about[1])


def test_it_cannot_be_changed_at_any_byte() -> None:
    sealed = seal()
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(sealing.Unreadable):
            sealing.unseal(bytes(changed), request_id=REQUEST, user_id=USER)
    for length in range(len(sealed)):
        with pytest.raises(sealing.Unreadable):
            sealing.unseal(sealed[:length], request_id=REQUEST, user_id=USER)


def test_an_older_key_reads_what_it_sealed_until_it_is_taken_away(settings: Any) -> None:
    settings.FIELD_KEYS = [OLD]
    sealed = seal()
    settings.FIELD_KEYS = [NEW, OLD]
    assert sealing.unseal(sealed, request_id=REQUEST, user_id=USER) == ANSWER
    newer = seal()
    settings.FIELD_KEYS = [NEW]
    assert sealing.unseal(newer, request_id=REQUEST, user_id=USER) == ANSWER
    with pytest.raises(sealing.Unreadable):
        sealing.unseal(sealed, request_id=REQUEST, user_id=USER)


def test_a_newer_field_key_changes_no_digest(settings: Any) -> None:
    settings.FIELD_KEYS = [OLD]
    before = digests.of_key("key", user_id=USER)
    settings.FIELD_KEYS = [NEW, OLD]
    assert digests.of_key("key", user_id=USER) == before
    settings.FIELD_KEYS = [NEW]
    assert digests.of_key("key", user_id=USER) != before


def of_form(*fields: tuple[str, str], path: str = "/p", user_id: int = USER, **files: bytes) -> bytes:
    named = [(name, SimpleUploadedFile("f.wav", content)) for name, content in files.items()]
    return digests.of_form(fields, named, path=path, user_id=user_id)


def test_every_part_of_a_request_counts() -> None:
    bodies = [
        digests.of_body(b"{}", path="/p", user_id=USER),
        digests.of_body(b"{ }", path="/p", user_id=USER),
        digests.of_body(b"{}", path="/q", user_id=USER),
        digests.of_body(b"{}", path="/p", user_id=8),
        digests.of_key("{}", user_id=USER),
        of_form(("a", "b")),
        of_form(("a", "b"), path="/q"),
        of_form(("a", "b"), user_id=8),
        of_form(("ab", "")),
        of_form(("", "ab")),
        of_form(("a", "b"), ("c", "d")),
        of_form(("a", "b"), file=b"sound"),
        of_form(("a", "b"), file=b"sounds"),
        of_form(("a", "b"), mask=b"sound"),
    ]
    assert len(set(bodies)) == len(bodies)
    assert all(len(digest) == 32 for digest in bodies)
    assert of_form(("a", "b"), file=b"sound") == of_form(("a", "b"), file=b"sound")


def test_a_file_can_be_read_after_its_digest() -> None:
    file = SimpleUploadedFile("f", b"sound")
    digests.of_form([], [("file", file)], path="/p", user_id=USER)
    assert file.read() == b"sound"
