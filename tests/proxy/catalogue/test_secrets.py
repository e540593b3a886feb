"""Upstream keys at rest: unreadable without FIELD_KEYS, readable through a change of them."""

from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from proxy.catalogue import secrets
from proxy.catalogue.models import Upstream
from tests.proxy.factories import UpstreamFactory


@pytest.fixture
def upstream() -> Upstream:
    Upstream.objects.all().delete()
    return UpstreamFactory.create(api_key_encrypted=secrets.encrypt("sk-first"))


def test_what_is_encrypted_does_not_show_and_comes_back_whole() -> None:
    encrypted = secrets.encrypt("sk-زمین-1234")
    assert b"1234" not in encrypted
    assert secrets.decrypt(encrypted) == "sk-زمین-1234"
    assert secrets.decrypt(memoryview(encrypted)) == "sk-زمین-1234"


def test_the_same_secret_is_never_written_the_same_twice() -> None:
    assert secrets.encrypt("sk-1") != secrets.encrypt("sk-1")


def test_no_secret_stays_no_secret() -> None:
    assert secrets.encrypt("") == b""
    assert secrets.decrypt(b"") == ""


def test_an_older_key_still_decrypts_while_the_newest_encrypts(settings: Any) -> None:
    settings.FIELD_KEYS = ["old"]
    encrypted = secrets.encrypt("sk-1")
    settings.FIELD_KEYS = ["new", "old"]
    assert secrets.decrypt(encrypted) == "sk-1"
    rotated = secrets.rotate(encrypted)
    settings.FIELD_KEYS = ["new"]
    assert secrets.decrypt(rotated) == "sk-1"
    with pytest.raises(secrets.Undecryptable):
        secrets.decrypt(encrypted)


@pytest.mark.django_db
def test_rotate_secrets_moves_every_upstream_to_the_newest_key(
    settings: Any, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    keyless = UpstreamFactory.create(api_key_encrypted=b"")
    settings.FIELD_KEYS = ["new", *settings.FIELD_KEYS]
    call_command("rotate_secrets", "--json")
    settings.FIELD_KEYS = ["new"]
    upstream.refresh_from_db()
    keyless.refresh_from_db()
    assert capsys.readouterr().out == '{"rotated": 1}\n'
    assert secrets.decrypt(upstream.api_key_encrypted) == "sk-first"
    assert bytes(keyless.api_key_encrypted) == b""


@pytest.mark.django_db
def test_rotate_secrets_changes_nothing_where_one_secret_cannot_be_read(
    settings: Any, upstream: Upstream
) -> None:
    lost = UpstreamFactory.create(api_key_encrypted=b"encrypted under a key that is gone")
    before = bytes(Upstream.objects.get(pk=upstream.pk).api_key_encrypted)
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("rotate_secrets")
    upstream.refresh_from_db()
    lost.refresh_from_db()
    assert bytes(upstream.api_key_encrypted) == before
    assert bytes(lost.api_key_encrypted) == b"encrypted under a key that is gone"
