"""Every text for people has its Persian translation, and the compiled catalogue is the one that people read.

The texts are collected from the sources in Python alone, so that no test needs GNU gettext.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils.translation.template import templatize

APPS = ("accounts", "config", "keys", "proxy", "wallet")
CATALOGUE = Path(settings.LOCALE_PATHS[0]) / "fa" / "LC_MESSAGES" / "django.po"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|</?[a-z][^>]*>")
CALL = re.compile(r"\b(?:_|n?p?gettext)\(u?(?P<quote>['\"]).*?(?P=quote)(?:, *count)?\) ", re.DOTALL)

# Function → position of the context, the text, the plural among its arguments.
FUNCTIONS = {"_": (None, 0, None)} | {
    name + lazy: where
    for name, where in {
        "gettext": (None, 0, None),
        "ngettext": (None, 0, 1),
        "pgettext": (0, 1, None),
        "npgettext": (0, 1, 2),
    }.items()
    for lazy in ("", "_lazy")
}
Text = tuple[str | None, str, str | None]  # context, singular, plural


def texts(source: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        if name not in FUNCTIONS:
            continue
        yield tuple(None if at is None else literal(node.args[at]) for at in FUNCTIONS[name])  # type: ignore[misc]


def literal(argument: ast.expr) -> str:
    text = ast.literal_eval(argument)  # a text that is put together at run time cannot be translated
    assert isinstance(text, str)
    return text


def texts_of_the_project() -> set[Text]:
    root = settings.BASE_DIR
    found: set[Text] = set()
    for app in APPS:
        for path in (root / app).rglob("*.py"):
            found.update(texts(path.read_text()))
    for folder in ("templates", *(f"{app}/templates" for app in APPS)):
        for path in (root / folder).rglob("*.html"):
            for call in CALL.finditer(templatize(path.read_text())):
                found.update(texts(call[0].strip()))
    return found


@pytest.fixture(scope="module")
def catalogue() -> polib.POFile:
    entries: polib.POFile = polib.pofile(CATALOGUE)
    return entries


def test_every_text_of_the_project_has_a_persian_translation(catalogue: polib.POFile) -> None:
    translated = {(e.msgctxt, e.msgid, e.msgid_plural or None) for e in catalogue.translated_entries()}
    found = texts_of_the_project()
    assert len(found) > 250, "the texts were not found in the sources"
    assert found - translated == set(), "run `make messages` and translate what it adds"
    assert translated - found == set(), "run `make messages`: these are used no longer"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('{% translate "One" %}', (None, "One", None)),
        ("<p title=\"{% translate 'It’s' %}\">", (None, "It’s", None)),
        ('{% translate "May" context "month" %}', ("month", "May", None)),
        ("{% blocktranslate trimmed %}\n  Say “{{ a }}”, it's\n  so{% endblocktranslate %}",
         (None, "Say “%(a)s”, it's so", None)),
        ("{% blocktranslate count counter=n %}one{% plural %}{{ n }} many{% endblocktranslate %}",
         (None, "one", "%(n)s many")),
        ('{% include "x.html" with label=_("Two") %}', (None, "Two", None)),
    ],
)  # fmt: skip
def test_texts_are_found_in_templates(source: str, found: Text) -> None:
    [call] = CALL.finditer(templatize(source))
    assert list(texts(call[0].strip())) == [found]


def test_no_translation_is_fuzzy_empty_or_half_done(catalogue: polib.POFile) -> None:
    assert not catalogue.fuzzy_entries()
    assert not catalogue.untranslated_entries()
    assert catalogue.metadata["Plural-Forms"] == "nplurals=2; plural=(n > 1);"


def test_no_translation_loses_or_invents_a_placeholder_or_a_tag(catalogue: polib.POFile) -> None:
    for entry in catalogue:
        wanted = {frozenset(PLACEHOLDER.findall(text)) for text in (entry.msgid, entry.msgid_plural) if text}
        for translation in [entry.msgstr, *entry.msgstr_plural.values()]:
            if translation:
                assert frozenset(PLACEHOLDER.findall(translation)) in wanted, entry.msgid


def test_persian_is_written_with_persian_letters(catalogue: polib.POFile) -> None:
    for entry in catalogue:
        for translation in [entry.msgstr, *entry.msgstr_plural.values()]:
            assert not re.search("[يكى٠-٩]", translation), entry.msgid


def test_the_compiled_catalogue_is_made_of_the_readable_one(catalogue: polib.POFile) -> None:
    compiled = polib.mofile(CATALOGUE.with_suffix(".mo"))

    def content(entries: list[polib.POEntry] | list[polib.MOEntry]) -> dict[object, object]:
        return {
            (e.msgctxt, e.msgid, e.msgid_plural): (e.msgstr, tuple(sorted(e.msgstr_plural.items())))
            for e in entries
        }

    assert content(list(compiled)) == content(catalogue.translated_entries()), "run `make messages`"
