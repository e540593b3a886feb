"""The web font of Persian pages, cut from its Python package while static files are collected.

Noto Sans Arabic (SIL Open Font License 1.1), reduced to what Persian is written with and to the weights that pages use.
Latin letters and spaces stay with the visitor's own fonts.
"""

import functools
import importlib.metadata
import importlib.resources
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage

PACKAGE = "fontpkg_noto_sans_arabic"
FONT, LICENSE = "noto-sans-arabic.woff2", "noto-sans-arabic.OFL.txt"
WEIGHTS = (400, 700)
FEATURES = ["init", "medi", "fina", "rlig", "ccmp", "mark", "mkmk", "kern"]
NAMES = [0, 1, 2, 3, 4, 5, 6, 13, 14]  # copyright, what it is called, licence
# As `unicode-range` in config/static/persian.css has it.
CHARACTERS = (
    *range(0x060C, 0x060D), 0x061B, 0x061F, *range(0x0621, 0x063B), *range(0x0640, 0x0656), *range(0x066A, 0x066D),
    0x0670, 0x067E, 0x0686, 0x0698, 0x06A9, 0x06AF, 0x06C0, 0x06CC, 0x06D5, *range(0x06F0, 0x06FA),
    0x00AB, 0x00BB, 0x200C, 0x200D,
)  # fmt: skip


class FontFinder(BaseFinder):
    """Finds the cut font and its licence as static files; cutting takes a second and is done once per version."""

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        storage = FileSystemStorage(location=_made())
        yield FONT, storage
        yield LICENSE, storage

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        found = [str(_made() / path)] if path in {FONT, LICENSE} else []
        if find_all:
            return found
        return found[0] if found else None


def _made() -> Path:
    """The folder with both files, one for each version of the package and of this module."""
    source = importlib.resources.files(PACKAGE)
    with importlib.resources.as_file(source / "files") as files:
        (font,) = files.glob("*.ttf")
        recipe = zlib.crc32(repr((CHARACTERS, WEIGHTS, FEATURES, NAMES)).encode())
        folder = settings.VAR_DIR / "fonts" / f"{_version()}-{recipe:08x}"
        if not (folder / FONT).exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / LICENSE).write_text((source / "LICENSE").read_text())
            draft = folder / "draft"
            draft.write_bytes(cut(font))
            draft.rename(folder / FONT)
    return Path(folder)


@functools.cache
def _version() -> str:
    return importlib.metadata.version("fontpkg-noto-sans-arabic")


def cut(source: Path) -> bytes:
    """The font as WOFF2; the same bytes every time, so that each server names it alike."""
    from fontTools import subset
    from fontTools.ttLib import TTFont
    from fontTools.varLib import instancer

    options = subset.Options(hinting=False, name_IDs=NAMES, layout_features=FEATURES)
    with TTFont(source, recalcTimestamp=False) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=CHARACTERS)
        subsetter.subset(font)
        instancer.instantiateVariableFont(font, {"wdth": 100, "wght": WEIGHTS}, inplace=True)
        font.flavor = "woff2"
        out = io.BytesIO()
        font.save(out)
    return out.getvalue()
