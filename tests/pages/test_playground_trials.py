"""What the playground tries beside chat, in a real browser, against the sandbox: an answer, and what it cost."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.live import WebProcess
from tests.pages.seed import Account
from tests.pages.visit import DESK, MARKS, Visit
from tests.proxy.api.media import sounds

pytestmark = MARKS


@pytest.fixture
def page(web: WebProcess, browser: Browser, account: Account) -> Iterator[Page]:
    visit = Visit(browser, web.url, language="en", size=DESK, cookies=account.cookies, expected=(400,))
    visit.page.goto("/playground/")
    yield visit.page
    assert visit.complaints == []
    visit.close()


def ask(page: Page, cost: str) -> None:
    page.locator("#send").click()
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#cost")).to_have_text(f"{cost} Toman")
    expect(page.locator("#announce")).to_have_text("The answer is complete.")


def test_an_image_is_drawn_and_shown(page: Page) -> None:
    page.get_by_role("link", name="Images").click()
    page.locator("#text").fill("<b>A walnut tree</b>")
    page.locator("#size").select_option("1536x1024")
    ask(page, "4,000")
    image = page.locator("#shown img")
    expect(image).to_have_attribute("alt", "<b>A walnut tree</b>")
    assert image.evaluate("(one) => one.decode().then(() => [one.naturalWidth, one.naturalHeight])") == [
        1536,
        1024,
    ]


def test_a_text_is_spoken(page: Page) -> None:
    page.get_by_role("link", name="Speech").click()
    page.locator("#text").fill("Hello!")
    ask(page, "10.8")
    page.wait_for_function("() => document.querySelector('#shown audio').readyState > 0")
    assert page.locator("#shown audio").evaluate("(one) => one.duration") > 0.3


def test_a_sound_is_written_down(page: Page) -> None:
    page.get_by_role("link", name="Transcription").click()
    page.locator("#file").set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": sounds.wav(1.5)}
    )
    ask(page, "24")
    expect(page.locator("#shown")).to_contain_text("it has not listened to your file")


def test_texts_become_vectors(page: Page) -> None:
    page.get_by_role("link", name="Embeddings").click()
    page.locator("#text").fill("one text\n\nanother one")
    ask(page, "0.008")
    expect(page.locator("#shown")).to_contain_text("Vectors: 2, each of 256 numbers")


def test_nothing_is_sent_without_what_it_needs_and_refusals_are_told(page: Page) -> None:
    page.get_by_role("link", name="Transcription").click()
    expect(page.locator("#file")).to_be_visible()  # the page before has such a button, too
    page.locator("#send").click()
    expect(page.locator("#file")).to_be_focused()
    page.locator("#file").set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
    page.locator("#send").click()
    expect(page.locator("#trouble")).to_contain_text("No sound could be measured in this file")
    expect(page.locator("#trouble")).to_contain_text("Change what you have entered, then try again.")


@pytest.mark.parametrize("path", ["speech/", ""])
def test_what_is_asked_before_the_page_is_ready_waits(page: Page, path: str) -> None:
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/playground*.js", hold)
    page.goto(f"/playground/{path}", wait_until="commit")
    text = page.locator("#text, #draft")
    text.fill("Good morning")
    expect(page.locator("#send")).to_be_disabled()
    page.locator("#voice, #draft").press("Enter")
    for route in waiting:
        route.continue_()
    expect(page.locator("#send")).to_be_enabled()
    assert page.url.endswith(f"/playground/{path}")
    assert text.input_value().strip() == "Good morning"
