"""Templates are made to be read: no line of them is longer than a screen is wide."""

from django.conf import settings

WIDEST = 160


def test_no_line_of_a_template_is_too_long_to_read() -> None:
    paths = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
    assert len(paths) > 60
    too_long = [
        f"{path.relative_to(settings.BASE_DIR)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > WIDEST
    ]
    assert too_long == []
