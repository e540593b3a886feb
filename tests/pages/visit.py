"""A browser window, and everything in it that was not as it should be."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, CDPSession, Page, Request, Response, expect

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESK = (360, 740), (1280, 800)

# Every module here that asks for a browser is marked with these.
MARKS = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}")]

expect.set_options(timeout=20_000)  # a busy machine takes its time

SHIFT_MAX = 0.05  # half of what Web Vitals call good; a busy machine paints a page in pieces
WATCH_SHIFTS = """
window.shifted = 0;
window.movers = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    window.shifted += entry.value;
    for (const { node, previousRect, currentRect } of entry.sources) {
      const name = node?.className || node?.nodeName;
      window.movers.push(`${name} ${previousRect.x},${previousRect.y} to ${currentRect.x},${currentRect.y}`);
    }
  }
}).observe({ type: "layout-shift", buffered: true });
"""


class Visit:
    """`expected` are statuses that are no reason to complain."""

    def __init__(
        self,
        browser: Browser,
        base_url: str,
        *,
        language: str,
        size: tuple[int, int],
        cookies: dict[str, str] | None = None,
        expected: tuple[int, ...] = (),
    ) -> None:
        self._origin, self._expected = base_url, expected
        self.language = language
        self.context = browser.new_context(
            base_url=base_url,
            viewport={"width": size[0], "height": size[1]},
            permissions=["clipboard-read", "clipboard-write"],
        )
        chosen = {"hamiran_language": language} if language != "fa" else {}
        for name, value in {**chosen, **(cookies or {})}.items():
            self.context.add_cookies([{"name": name, "value": value, "url": base_url}])
        self.context.add_init_script(WATCH_SHIFTS)
        self.complaints: list[str] = []
        self.page: Page = self.context.new_page()
        self._wire: CDPSession | None = None
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def begin_anew(self, *, expected: tuple[int, ...]) -> None:
        """For the next page, as if nothing had been loaded before."""
        self.complaints.clear()
        self._expected = expected
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        if self._wire is None:
            self._wire = self.context.new_cdp_session(self.page)
        self._wire.send("Network.clearBrowserCache")

    def _console(self, kind: str, text: str) -> None:
        # A breach of the Content-Security-Policy is an error here, and so is a status, which `_response` looks at.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.complaints.append(text)

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page's own doing
            self.complaints.append(f"{request.url} failed: {request.failure}")

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and f"{address.scheme}://{address.netloc}" != self._origin:
            self.complaints.append(f"{request.url} is somebody else's")

    def _response(self, answer: Response) -> None:
        if answer.status >= 400 and answer.status not in self._expected:
            self.complaints.append(f"{answer.url} answered {answer.status}")

    def go(self, path: str) -> None:
        """By the navigation, which on a phone is behind a button."""
        menu = self.page.locator(".menu-button")
        if menu.is_visible():
            menu.click()
        self.page.locator(f".nav a[href='{path}']").click()
        self.page.wait_for_url(f"**{path}")

    def look(self) -> None:
        """Called on every page of the way."""
        self.page.wait_for_load_state()
        assert self.page.locator("html").get_attribute("lang") == self.language
        sideways = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert sideways == 0, f"{self.page.url} scrolls sideways by {sideways} px"
        assert self.page.locator("h1").count() == 1
        movers = self.page.evaluate("window.movers")
        assert self.page.evaluate("window.shifted") < SHIFT_MAX, f"{self.page.url} jumps: {movers}"
        assert self.complaints == []

    def close(self) -> None:
        self.context.close()
