"""Every page, in both languages and colour schemes, on a phone and at a desk: nothing for axe to find, nothing in the
console, nothing that jumps or scrolls sideways, nothing from anybody else."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.live import ROOT, WebProcess
from tests.pages.places import PLACES, Place
from tests.pages.seed import Account
from tests.pages.visit import DESK, MARKS, PHONE, Visit

pytestmark = MARKS

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
AXE = Axe().axe_script
FIRST_PAGE_MAX_BYTES = 64 * 1024
ENTERED = Callable[[Place, str, tuple[int, int]], Visit]


@pytest.fixture(scope="module")
def entered(web: WebProcess, browser: Browser, account: Account) -> Iterator[ENTERED]:
    """A window for each look, signed in, as an admin or not, in which page after page is opened with an empty cache.

    A window for each page would start a process of Chromium's for it, which costs more than the page.
    """
    visits: dict[tuple[str, bool, bool], Visit] = {}

    def enter(place: Place, language: str, size: tuple[int, int]) -> Visit:
        look = language, place.signed_in, place.is_admin
        if look not in visits:
            cookies = place.cookies(account)
            visits[look] = Visit(browser, web.url, language=language, size=size, cookies=cookies)
        visits[look].begin_anew(expected=(place.status,))
        return visits[look]

    yield enter
    for visit in visits.values():
        visit.close()


def found(page: Page, options: dict[str, Any]) -> list[str]:
    violations = page.evaluate(
        "options => axe.run(document, options).then(found => found.violations)", options
    )
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in violations
        for node in violation["nodes"]
    ]


def looks() -> Iterator[Any]:
    """Each page in one of two ways, and as a proof in the other one."""
    for number, place in enumerate(PLACES):
        for turn, (language, size) in enumerate((("fa", PHONE), ("en", DESK))):
            marks = [pytest.mark.proof] * ((number + turn) % 2)
            name = f"{place.name}-{language}-{'phone' if size == PHONE else 'desk'}"
            yield pytest.param(place, language, size, id=name, marks=marks)


@pytest.mark.parametrize(("place", "language", "size"), list(looks()))
def test_a_page_is_accessible_and_calm(
    entered: ENTERED, account: Account, place: Place, language: str, size: tuple[int, int]
) -> None:
    visit = entered(place, language, size)
    page = visit.page
    answer = page.goto(place.path.format(**account.ids))
    assert answer is not None
    assert answer.status == place.status
    place.arrive(page)
    visit.look()
    page.evaluate(AXE)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    assert found(page, WCAG) == [], "light"
    if size == DESK:  # where all of a page is shown, and colours have no language
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert found(page, COLOURS) == [], "dark"
        visit.look()


def test_the_colour_schemes_differ_in_colours_alone() -> None:
    """All else is looked at in one of them."""
    styles = [path for kind in ("css", "js") for path in ROOT.glob(f"*/static/**/*.{kind}")]
    lines = [line for path in styles for line in path.read_text().splitlines()]
    chosen = [line for line in lines if "[data-theme" in line]
    assert not [line for line in lines if "prefers-color-scheme" in line]
    assert [line.partition("{")[2] for line in chosen] == [
        " color-scheme: light; }",
        " color-scheme: dark; }",
    ]


def test_the_first_page_is_light(web: WebProcess, browser: Browser) -> None:
    visit = Visit(browser, web.url, language="fa", size=PHONE)
    sizes: dict[str, int] = {}
    wire = visit.context.new_cdp_session(visit.page)
    wire.send("Network.enable")
    urls: dict[str, str] = {}
    wire.on(
        "Network.responseReceived", lambda event: urls.update({event["requestId"]: event["response"]["url"]})
    )
    wire.on(
        "Network.loadingFinished",
        lambda event: sizes.update({urls[event["requestId"]]: int(event["encodedDataLength"])}),
    )
    visit.page.goto("/", wait_until="networkidle")
    assert len(sizes) >= 3
    assert sum(sizes.values()) <= FIRST_PAGE_MAX_BYTES, sizes
    visit.close()
