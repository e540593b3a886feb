"""Typed readers of the environment, which fail loudly on a value that they cannot read.

A secret `X` is also read from the file that `X_FILE` names.
"""

import ipaddress
import os
import re
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ORIGIN = re.compile(r"https?://[^/\s,*@?#A-Z]+")
SECRET_MIN_LENGTH = 32
VERSION_MAX = 2**15 - 1  # what the database keeps beside a digest
TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def envstr(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, "").strip() or default
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set.")
    return value


def envint(name: str, default: int, *, minimum: int = 0) -> int:
    value = envstr(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if number < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {value!r}.")
    return number


def envbool(name: str, default: bool) -> bool:
    value = envstr(name, "true" if default else "false").lower()
    if value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")
    return value in TRUE


def envlist(name: str, default: list[str]) -> list[str]:
    value = os.environ.get(name)
    return default if value is None else [part.strip() for part in value.split(",") if part.strip()]


def networks(name: str, values: list[str]) -> list[Network]:
    """The addresses and networks that a list names; `*` means all."""
    try:
        return [
            ipaddress.ip_network(network, strict=False)
            for value in values
            for network in (("0.0.0.0/0", "::/0") if value == "*" else (value,))
        ]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be addresses or networks: {error}.") from None


def origins(name: str, values: list[str]) -> list[str]:
    """The same list, of origins as browsers send them, or `*`."""
    for value in values:
        if value != "*" and not ORIGIN.fullmatch(value):
            raise ImproperlyConfigured(
                f"{name} must be * or origins like https://app.example.ir, without a path, not {value!r}."
            )
    return values


def envchoice(name: str, choices: tuple[str, ...], default: str) -> str:
    value = envstr(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def envsecret(name: str, *, generate_in: Path | None = None, default: str | None = None) -> str:
    """The secret `name`, from `name` itself or from the file that `name_FILE` points at.

    With `generate_in`, a missing secret is made once and kept there (0600): the sandbox's way to have
    secrets that survive a restart without anybody inventing them.
    """
    path = os.environ.get(f"{name}_FILE")
    if os.environ.get(name) and path:
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE, not both.")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error}") from None
    if generate_in is not None and not os.environ.get(name):
        try:
            return _kept_secret(generate_in / name.lower())
        except OSError as error:
            raise ImproperlyConfigured(
                f"{name} is not set and cannot be kept in the data folder: {error}. Choose another with HAMIRAN_VAR."
            ) from None
    return envstr(name, default)


def secrets_in(text: str, *, name: str) -> list[str]:
    """Secrets separated by commas, newest first; each long enough, and none twice."""
    read = [part.strip() for part in text.split(",")]
    _require_good(name, read)
    return read


def versions_in(text: str, *, name: str) -> dict[int, bytes]:
    """Likewise, each with its version: `2:new,1:old`. A single one may omit it, and has version 1."""
    read: dict[int, str] = {}
    for part in text.split(","):
        version, colon, secret = part.strip().partition(":")
        if not colon:
            version, secret = "1", version
        version = version.strip()
        if not (version.isascii() and version.isdecimal() and 1 <= int(version) <= VERSION_MAX):
            raise ImproperlyConfigured(
                f"{name}: a version is a whole number of 1 to {VERSION_MAX:,}, as in 2:new,1:old."
            )
        if int(version) in read:
            raise ImproperlyConfigured(f"{name} has version {int(version)} twice.")
        read[int(version)] = secret.strip()
    _require_good(name, list(read.values()))
    return {version: secret.encode() for version, secret in read.items()}


def _require_good(name: str, given: list[str]) -> None:
    """Never names a secret: the sentence goes to the terminal and into logs."""
    for place, secret in enumerate(given, start=1):
        if not secret:
            raise ImproperlyConfigured(f"{name}: number {place} of {len(given)} is blank.")
        if len(secret) < SECRET_MIN_LENGTH:
            raise ImproperlyConfigured(
                f"{name}: number {place} of {len(given)} has {len(secret)} characters; a secret has at least "
                f"{SECRET_MIN_LENGTH}. Make one with `openssl rand -hex 32`."
            )
        if secret in given[: place - 1]:
            raise ImproperlyConfigured(f"{name}: number {place} of {len(given)} is there twice.")


def _kept_secret(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_hex(32))
    try:
        # A hard link either makes the name whole or fails: two processes starting at once agree on one secret.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()
