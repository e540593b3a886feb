"""Settings from the environment: what cannot be read fails loudly."""

import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env


def test_a_missing_value_without_a_default_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X", raising=False)
    with pytest.raises(ImproperlyConfigured, match="X is not set"):
        env.envstr("X")


@pytest.mark.parametrize("value", ["8000a", "1.5", "٨٠ ٠٠", "0x10"])
def test_a_number_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured, match="X must be a whole number"):
        env.envint("X", 1)


@pytest.mark.parametrize(("value", "minimum"), [("-1", 0), ("0", 1)])
def test_a_number_below_the_least_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, value: str, minimum: int
) -> None:
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured, match=f"X must be at least {minimum}, not '{value}'"):
        env.envint("X", 5, minimum=minimum)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("Yes", True), ("off", False), ("FALSE", False), ("", True)]
)
def test_yes_and_no_have_several_spellings(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    monkeypatch.setenv("X", value)
    assert env.envbool("X", True) is expected


def test_neither_yes_nor_no_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "maybe")
    with pytest.raises(ImproperlyConfigured, match="X must be true or false, not 'maybe'"):
        env.envbool("X", True)


def test_a_choice_has_to_be_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "prod")
    with pytest.raises(ImproperlyConfigured, match="X must be one of sandbox, production, not 'prod'"):
        env.envchoice("X", ("sandbox", "production"), "sandbox")


def test_a_list_drops_blanks_and_an_empty_one_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", " a, ,b ")
    assert env.envlist("X", ["c"]) == ["a", "b"]
    monkeypatch.setenv("X", "")
    assert env.envlist("X", ["c"]) == []


def test_a_secret_is_read_from_the_file_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("s3cret\n")
    monkeypatch.delenv("X", raising=False)
    monkeypatch.setenv("X_FILE", str(tmp_path / "x"))
    assert env.envsecret("X", generate_in=tmp_path / "made") == "s3cret"
    assert not (tmp_path / "made").exists()


def test_a_secret_file_that_cannot_be_read_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("X", raising=False)
    monkeypatch.setenv("X_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match="X_FILE cannot be read"):
        env.envsecret("X", default="other")


def test_a_secret_given_both_ways_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("X", "one")
    monkeypatch.setenv("X_FILE", str(tmp_path / "x"))
    with pytest.raises(ImproperlyConfigured, match="Set X or X_FILE, not both"):
        env.envsecret("X")


def test_a_secret_without_a_default_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X", raising=False)
    monkeypatch.delenv("X_FILE", raising=False)
    with pytest.raises(ImproperlyConfigured, match="X is not set"):
        env.envsecret("X")


def test_a_generated_secret_is_kept_for_its_owner_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("X", raising=False)
    monkeypatch.delenv("X_FILE", raising=False)
    made = env.envsecret("X", generate_in=tmp_path / "secrets")
    assert len(made) == 64
    assert env.envsecret("X", generate_in=tmp_path / "secrets") == made
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["x"]
    assert stat.S_IMODE((tmp_path / "secrets" / "x").stat().st_mode) == 0o600


def test_a_secret_that_is_set_is_not_generated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("X", "mine")
    assert env.envsecret("X", generate_in=tmp_path / "secrets") == "mine"
    assert not (tmp_path / "secrets").exists()


def test_a_data_folder_that_cannot_keep_a_secret_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("X", raising=False)
    monkeypatch.delenv("X_FILE", raising=False)
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured, match="Choose another with HAMIRAN_VAR"):
        env.envsecret("X", generate_in=tmp_path / "file" / "secrets")


@pytest.mark.parametrize("value", ["proxy", "10.0.0.0/33", "10.0.0.1:80", ""])
def test_a_network_that_is_none_is_an_error(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="X must be addresses or networks"):
        env.networks("X", ["127.0.0.1", value])


@pytest.mark.parametrize(
    "value", ["app.example.ir", "https://app.example.ir/", "https://*.example.ir", "HTTPS://A.ir", "null"]
)
def test_an_origin_that_no_browser_sends_is_an_error(value: str) -> None:
    assert env.origins("X", ["*", "http://localhost:3000", "https://app.example.ir"])
    with pytest.raises(ImproperlyConfigured, match="X must be"):
        env.origins("X", [value])


OLD, NEW = "o" * 32, "n" * 32


def test_peppers_are_read_with_their_versions_newest_first() -> None:
    read = env.versions_in(f" 2:{NEW} , 1:{OLD}", name="X")
    assert list(read.items()) == [(2, NEW.encode()), (1, OLD.encode())]
    assert env.versions_in(OLD, name="X") == {1: OLD.encode()}


def test_field_keys_are_read_newest_first() -> None:
    assert env.secrets_in(f" {NEW} , {OLD}", name="X") == [NEW, OLD]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"2:{NEW},2:{OLD}", "X has version 2 twice"),
        (f"{NEW},{OLD}", "X has version 1 twice"),
        (f"2:{NEW},1:{NEW}", "X: number 2 of 2 is there twice"),
        (f"2:{NEW},1:", "X: number 2 of 2 is blank"),
        (f"2:{NEW},", "X: number 2 of 2 is blank"),
        (f"2:{NEW}, ,1:{OLD}", "X: number 2 of 3 is blank|version 1 twice"),
        ("1:short", "X: number 1 of 1 has 5 characters; a secret has at least 32"),
        (f"1: {'s' * 31} ", "has 31 characters"),
        (f"two:{NEW}", "a version is a whole number of 1 to 32,767"),
        (f"0:{NEW}", "a version is a whole number"),
        (f"-1:{NEW}", "a version is a whole number"),
        (f"32768:{NEW}", "a version is a whole number"),
        (f"¹:{NEW}", "a version is a whole number"),
        (f":{NEW}", "a version is a whole number"),
    ],
)
def test_peppers_that_could_not_do_their_work_stop_the_start(value: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words) as refused:
        env.versions_in(value, name="X")
    assert NEW not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"{NEW},{NEW}", "X: number 2 of 2 is there twice"),
        (f"{NEW}, {NEW} ", "X: number 2 of 2 is there twice"),
        (f"{NEW},", "X: number 2 of 2 is blank"),
        (f",{NEW}", "X: number 1 of 2 is blank"),
        (f"{NEW},old", "X: number 2 of 2 has 3 characters"),
        ("", "X: number 1 of 1 is blank"),
    ],
)
def test_field_keys_that_could_not_do_their_work_stop_the_start(value: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        env.secrets_in(value, name="X")
