"""Whose key it is, from what people know of one: the end of its secret, as pages show it, or its number."""

import re

from django.db.models import Q

from keys.models import AdminKey, APIKey

OWNERS_MAX = 50
# `hm-…wxyz`, `hm-admin-...wxyz`, `…wxyz`, `wxyz`, and a whole secret, of which no more is read.
HINT = re.compile(r"(?:hm-(?:admin-)?)?[0-9A-Za-z.…*•]*?([0-9A-Za-z]{4})")
BIGINT_DIGITS = 18


def ends_so(hint: str) -> Q:
    """Keys whose secret ends so; an empty Q if it is no such hint."""
    match = HINT.fullmatch(hint.strip())
    return Q(last_four=match[1]) if match else Q()


def is_meant(hint: str) -> Q:
    """Likewise, or the key that has this number."""
    number = hint.strip()
    is_number = number.isascii() and number.isdecimal() and len(number) <= BIGINT_DIGITS
    return ends_so(hint) | Q(pk=int(number)) if is_number else ends_so(hint)


def owners(hint: str) -> list[int]:
    """The accounts of keys that are meant, at most OWNERS_MAX; none if it is no such hint."""
    if not (wanted := is_meant(hint)):
        return []
    ending = ends_so(hint)
    admin_keys = AdminKey.objects.filter(ending) if ending else AdminKey.objects.none()
    found = [
        *APIKey.objects.filter(wanted).values_list("user_id", flat=True)[:OWNERS_MAX],
        *admin_keys.values_list("user_id", flat=True)[:OWNERS_MAX],
    ]
    return list(dict.fromkeys(found))[:OWNERS_MAX]
