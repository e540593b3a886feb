"""Upstream API keys at rest: as `accounts.secrets` keeps every stored secret."""

from accounts.secrets import Undecryptable, decrypt, encrypt, rotate

__all__ = ["Undecryptable", "decrypt", "encrypt", "rotate"]
