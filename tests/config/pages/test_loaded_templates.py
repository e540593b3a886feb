"""A web process that runs shows its own pages, whatever files an update puts in their place."""

import pytest
from django.template import Engine
from django.template.loaders.filesystem import Loader

from config.pages import loaded_templates
from tests.live import ROOT


def test_no_template_of_ours_is_read_once_they_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_arguments: object) -> str:
        raise AssertionError("read from the disk")

    folders = [ROOT / "templates", *ROOT.glob("*/templates")]
    names = [str(file.relative_to(folder)) for folder in folders for file in folder.rglob("*.*")]
    assert loaded_templates.load() == len(names) > 100
    monkeypatch.setattr(Loader, "get_contents", read)
    for name in names:
        Engine.get_default().get_template(name)
