"""The web font has what Persian is written with, and is small enough for everybody's first visit."""

import importlib.resources
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles.finders import find, get_finders
from django.test import Client
from fontTools.ttLib import TTFont

from config.pages import fonts
from config.pages.static_files import StaticFilesStorage

MAX_BYTES = 60 * 1024
LETTERS = "آابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهیءأؤئۀةيك"
DIGITS, SIGNS = "۰۱۲۳۴۵۶۷۸۹", "«»،؛؟٪٫٬ـ\u200c"  # ZWNJ is the half-space
VOWELS = "\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0654"


@pytest.fixture(scope="module")
def font() -> Iterator[TTFont]:
    found = find(fonts.FONT)
    assert found is not None
    with TTFont(io.BytesIO(Path(found).read_bytes())) as opened:
        yield opened


def test_it_has_every_character_of_persian(font: TTFont) -> None:
    assert [char for char in LETTERS + DIGITS + SIGNS + VOWELS if ord(char) not in font.getBestCmap()] == []


def test_it_joins_letters(font: TTFont) -> None:
    tags = {record.FeatureTag for record in font["GSUB"].table.FeatureList.FeatureRecord}
    assert {"init", "medi", "fina", "rlig"} <= tags
    assert "mark" in {record.FeatureTag for record in font["GPOS"].table.FeatureList.FeatureRecord}


def test_it_has_the_weights_that_pages_use(font: TTFont) -> None:
    (weight,) = font["fvar"].axes
    assert (weight.axisTag, weight.minValue, weight.maxValue) == ("wght", *fonts.WEIGHTS)


def test_it_is_small() -> None:
    assert Path(str(find(fonts.FONT))).stat().st_size < MAX_BYTES


def test_every_server_makes_the_same_bytes() -> None:
    made = Path(str(find(fonts.FONT)))
    (source,) = (Path(str(importlib.resources.files(fonts.PACKAGE))) / "files").glob("*.ttf")
    assert fonts.cut(source) == made.read_bytes()


def test_it_is_collected_with_its_licence() -> None:
    listed = {path for finder in get_finders() for path, _storage in finder.list([])}
    assert {fonts.FONT, fonts.LICENSE} <= listed
    assert "SIL OPEN FONT LICENSE" in Path(str(find(fonts.LICENSE))).read_text().upper()


def test_the_sheet_names_the_characters_of_the_file() -> None:
    sheet = (settings.BASE_DIR / "config/static/persian.css").read_text()
    (written,) = re.findall(r"unicode-range: ([^;]+);", sheet)
    named = set()
    for span in written.replace("U+", "").split(", "):
        first, _dash, last = span.partition("-")
        named |= set(range(int(first, 16), int(last or first, 16) + 1))
    assert named == set(fonts.CHARACTERS)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/sign-in/", "/admin/login/"])
def test_persian_pages_load_it_and_english_ones_do_not(path: str) -> None:
    browser = Client()
    assert f"{fonts.FONT}" in browser.get(path, follow=True).content.decode()
    browser.cookies[settings.LANGUAGE_COOKIE_NAME] = "en"
    assert f"{fonts.FONT}" not in browser.get(path, follow=True).content.decode()


def test_compressing_static_files_takes_no_brotli_though_the_font_needs_it() -> None:
    assert not StaticFilesStorage().create_compressor(quiet=True).use_brotli
