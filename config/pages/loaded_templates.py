"""Our templates in memory before a web process serves: an update puts other files in their place while it still runs.

Django reads one when it is first shown, and that of a new version names what the old code does not have.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.template import Engine
from django.template.loaders import cached


def load() -> int:
    """How many there are. In development, where they are read anew each time, none is kept."""
    engine, loaded = Engine.get_default(), 0
    inner: Any
    for loader in engine.template_loaders:
        if not isinstance(loader, cached.Loader):
            continue
        for inner in loader.loaders:
            for folder in (folder for folder in map(Path, inner.get_dirs()) if _is_ours(folder)):
                for file in folder.rglob("*.*"):
                    engine.get_template(str(file.relative_to(folder)))
                    loaded += 1
    return loaded


def _is_ours(folder: Path) -> bool:
    return settings.BASE_DIR in folder.parents and "site-packages" not in folder.parts
