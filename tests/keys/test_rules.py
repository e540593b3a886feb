"""Names of keys and projects, which others read too."""

import pytest

from keys.rules import NAME_MAX_LENGTH, clean_name


@pytest.mark.parametrize(
    "name", ["کلید می‌خواهم", "shop 1", "فروشگاه 2 (test)", "👩‍💻", "x" * NAME_MAX_LENGTH]
)
def test_a_name_is_any_text_in_a_line(name: str) -> None:
    assert clean_name(f" {name}\t") == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "\u200c", "\u200f \u200b", "a\nb", "a\0", "\u202e", "paid\u202e", "\u2067a\u2069", "x" * 81],
    ids=ascii,
)
def test_a_name_is_seen_and_turns_nothing_around(name: str) -> None:
    with pytest.raises(ValueError, match="a name"):
        clean_name(name)
