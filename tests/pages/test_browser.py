"""The newcomer's way in a real browser, from the mobile number to a paid answer: on a phone in Persian, at a desk
in English. Every page on it is looked at: nothing to complain of in the console, nothing that scrolls sideways."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pytest_django import DjangoDbBlocker

from proxy import offers, starter
from tests.live import WebProcess, eventually, web_process

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MODEL = "browser-model"

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}"),
    pytest.mark.xdist_group("browser"),  # one web process and one Chromium for both
]


@dataclass(frozen=True)
class Newcomer:
    """Who comes, with what, and which words are to be on the pages."""

    language: str
    width: int
    height: int
    mobile: str
    amount: str
    credited: str
    payable: str
    key_name: str
    words: dict[str, str] = field(hash=False)


PHONE = Newcomer(
    language="fa", width=360, height=740, mobile="۰۹۱۵{}", amount="۵۰٬۰۰۰", credited="۵۰٬۰۰۰ تومان",
    payable="۵۵٬۰۰۰ تومان",
    key_name="فروشگاه کتاب", words={"steps": "سه گام تا اولین پاسخ", "usage": "مصرف", "completed": "کامل"},
)  # fmt: skip
DESK = Newcomer(
    language="en", width=1280, height=800, mobile="0916 {}", amount="50,000", credited="50,000 Toman",
    payable="55,000 Toman",
    key_name="bookshop",
    words={"steps": "Three steps to your first answer", "usage": "Usage", "completed": "completed"},
)  # fmt: skip


@pytest.fixture(scope="module")
def static_files() -> None:
    """The web process serves what was collected, under names that carry a digest, as in production."""
    storages = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    }
    with override_settings(STORAGES=storages):
        call_command(
            "collectstatic", interactive=False, verbosity=0, ignore_patterns=["admin", "rest_framework"]
        )


@pytest.fixture(scope="module")
def web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, static_files: None
) -> Iterator[WebProcess]:
    with django_db_blocker.unblock(), web_process() as process:
        offers.add_model(
            model_id=MODEL,
            upstream_url=f"{process.url}/sandbox/upstream/v1",
            upstream_key="sandbox",
            upstream_model=starter.MODEL_ID,
            input_rial_per_million=300_000,
            output_rial_per_million=1_800_000,
        )
        yield process


@pytest.fixture(scope="module")
def browser(web: WebProcess) -> Iterator[Browser]:
    """Comes after `web`: while Playwright's loop runs in this thread, Django refuses to ask the database."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


class Visit:
    """A browser window of a newcomer, and everything in it that was not as it should be."""

    def __init__(self, browser: Browser, base_url: str, who: Newcomer) -> None:
        context = browser.new_context(
            base_url=base_url,
            viewport={"width": who.width, "height": who.height},
            permissions=["clipboard-read", "clipboard-write"],
        )
        if who.language != "fa":
            context.add_cookies([{"name": "hamiran_language", "value": who.language, "url": base_url}])
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"{request.url} failed"))
        self.page.on("response", lambda answer: self._status(answer.status, answer.url))

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):  # a breach of the Content-Security-Policy is an error here
            self.complaints.append(text)

    def _status(self, status: int, url: str) -> None:
        if status >= 400:
            self.complaints.append(f"{url} answered {status}")

    def go(self, path: str) -> None:
        """By the navigation, which on a phone is behind a button."""
        menu = self.page.locator(".menu-button")
        if menu.is_visible():
            menu.click()
        self.page.locator(f".nav a[href='{path}']").click()
        self.page.wait_for_url(f"**{path}")

    def look(self, language: str) -> None:
        """Called on every page of the way."""
        self.page.wait_for_load_state()
        assert self.page.locator("html").get_attribute("lang") == language
        sideways = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert sideways == 0, f"{self.page.url} scrolls sideways by {sideways} px"
        assert self.page.locator("h1").count() == 1
        assert self.complaints == []


@pytest.mark.parametrize("who", [PHONE, DESK], ids=["Persian on a phone", "English at a desk"])
def test_a_newcomer_gets_from_a_mobile_number_to_a_paid_answer(
    web: WebProcess, browser: Browser, who: Newcomer
) -> None:
    visit = Visit(browser, web.url, who)
    page = visit.page

    page.goto("/")
    visit.look(who.language)
    page.locator("main a[href='/sign-in/']").click()
    page.wait_for_url("**/sign-in/")
    visit.look(who.language)
    page.locator("[name=mobile]").fill(who.mobile.format(f"{secrets.randbelow(10**7):07d}"))
    page.locator("main .button--primary").click()
    page.wait_for_url("**/sign-in/code/")
    visit.look(who.language)
    page.locator("[name=code]").fill(page.locator("#sandbox-code").inner_text())  # goes off by itself

    page.wait_for_url("**/overview/")
    visit.look(who.language)
    expect(page.get_by_role("heading", name=who.words["steps"])).to_be_visible()

    visit.go("/wallet/")
    visit.look(who.language)
    page.locator("input[name=amount]").fill(who.amount)
    page.locator("form:has(input[name=amount]) .button--primary").click()
    page.wait_for_url("**/wallet/topups/review/**")
    visit.look(who.language)
    expect(page.locator("main")).to_contain_text(who.payable)
    page.locator("main .button--primary").click()
    page.wait_for_url("**/wallet/sandbox/**")
    visit.look(who.language)
    expect(page.locator(".stat__value")).to_contain_text(who.payable)
    page.locator("button[value=pay]").click()
    page.wait_for_url("**/wallet/topups/**")
    visit.look(who.language)
    expect(page.locator(".notice--good")).to_contain_text(who.credited)

    visit.go("/keys/")
    visit.look(who.language)
    page.locator("main a[href='/keys/create/']").click()
    page.wait_for_url("**/keys/create/")
    visit.look(who.language)
    page.locator("[name=name]").fill(who.key_name)
    page.locator("main .button--primary").click()
    expect(page.locator("#secret")).to_be_visible()
    visit.look(who.language)
    page.locator("[data-copy='#secret']").click()
    expect(page.locator("#announce")).not_to_be_empty()
    secret = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"hm-[0-9A-Za-z]{36}", secret)

    tokens = ask(web.url, secret)

    visit.go("/usage/")
    visit.look(who.language)
    expect(page.locator("figure svg[role=img]")).to_have_count(4)
    page.locator(".usage-tabs a[href*='/usage/requests/']").click()
    page.wait_for_url("**/usage/requests/")
    visit.look(who.language)
    log = page.locator("section[aria-labelledby=log] tbody tr")
    assert log.count() == 1
    for words in (who.key_name, f"hm-…{secret[-4:]}", MODEL, who.words["completed"]):
        expect(log).to_contain_text(words)
    shown = log.locator("td.num").all_inner_texts()[:2]
    assert [int(text) for text in shown] == tokens  # int() reads Persian digits, too
    log.locator("th a").click()
    page.wait_for_url(re.compile("/usage/[0-9a-f]{32}/$"))
    visit.look(who.language)

    page.goto("/wallet/statement/")
    visit.look(who.language)
    table = page.locator(".table-scroll")
    assert table.evaluate("it => it.scrollWidth - it.clientWidth") == 0, "a column is out of sight"
    spent, topped_up = page.locator("tbody tr").all()[:2]
    expect(spent).to_contain_text(who.words["usage"])
    expect(topped_up).to_contain_text(f"+{who.credited.split()[0]}")
    visit.go("/overview/")
    visit.look(who.language)
    expect(page.get_by_role("heading", name=who.words["steps"])).to_have_count(0)


def ask(url: str, secret: str) -> list[int]:
    """Calls the API as a program would; returns the tokens of the prompt and of the answer."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client:
        eventually(lambda: client.get(f"/v1/models/{MODEL}").status_code == 200)
        question = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
        answer = client.post("/v1/chat/completions", json=question)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    return [usage["prompt_tokens"], usage["completion_tokens"]]
