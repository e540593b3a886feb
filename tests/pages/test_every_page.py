"""Every page, in both languages and colour schemes, on a phone and at a desk: nothing for axe to find, nothing in the
console, nothing that jumps or scrolls sideways, nothing from anybody else."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.live import WebProcess
from tests.pages.places import PLACES, Place
from tests.pages.seed import Account
from tests.pages.visit import DESK, MARKS, PHONE, Visit

pytestmark = MARKS

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
FIRST_PAGE_MAX_BYTES = 60 * 1024


def found(page: Page) -> list[str]:
    violations: list[dict[str, Any]] = Axe().run(page, options=WCAG).response["violations"]
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in violations
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
@pytest.mark.parametrize(("language", "size"), [("fa", PHONE), ("en", DESK)], ids=["fa-phone", "en-desk"])
def test_a_page_is_accessible_and_calm(
    web: WebProcess,
    browser: Browser,
    account: Account,
    place: Place,
    language: str,
    size: tuple[int, int],
) -> None:
    cookies = account.cookies if place.signed_in else {}
    visit = Visit(browser, web.url, language=language, size=size, cookies=cookies, expected=(place.status,))
    page = visit.page
    answer = page.goto(place.path.format(**account.ids))
    assert answer is not None
    assert answer.status == place.status
    place.arrive(page)
    visit.look()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert found(page) == [], scheme
    visit.look()
    visit.close()


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
