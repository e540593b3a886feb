"""Whose key it is, from what people know of one: the end of its secret, as pages show it, or its number."""

import re

from django.db.models import Q

from keys.models import AdminKey, APIKey

OWNERS_MAX = 50
# `hm-…wxyz`, `hm-admin-...wxyz`, `…wxyz`, `wxyz`, and a whole secret, of which no more is read.
HINT = re.compile(r"(?:hm-(?:admin-)?)?[0-9A-Za-z.…*•]*?([0-9A-Za-z]{4})")
BIGINT_DIGITS = 18


def owners(hint: str) -> list[int]:
    """The accounts of keys that end so or have this number, at most OWNERS_MAX; none if it is no such hint."""
    hint = hint.strip()
    wanted = Q()
    if match := HINT.fullmatch(hint):
        wanted |= Q(last_four=match[1])
    admin_keys = AdminKey.objects.filter(wanted) if wanted else AdminKey.objects.none()
    if hint.isascii() and hint.isdecimal() and len(hint) <= BIGINT_DIGITS:
        wanted |= Q(pk=int(hint))
    if not wanted:
        return []
    found = [
        *APIKey.objects.filter(wanted).values_list("user_id", flat=True)[:OWNERS_MAX],
        *admin_keys.values_list("user_id", flat=True)[:OWNERS_MAX],
    ]
    return list(dict.fromkeys(found))[:OWNERS_MAX]
