"""The newcomer's way in a real browser, from the mobile number to a paid answer: on a phone in Persian, at a desk
in English. Every page on it is looked at: nothing to complain of in the console, nothing that scrolls sideways."""

import re
import secrets
from dataclasses import dataclass, field

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.live import WebProcess, eventually
from tests.pages.seed import MODEL
from tests.pages.visit import DESK, MARKS, PHONE, Visit

pytestmark = MARKS


@dataclass(frozen=True)
class Newcomer:
    """Who comes, with what, and which words are to be on the pages."""

    language: str
    size: tuple[int, int]
    mobile: str
    amount: str
    credited: str
    payable: str
    key_name: str
    question: str
    words: dict[str, str] = field(hash=False)


ON_A_PHONE = Newcomer(
    language="fa", size=PHONE, mobile="۰۹۱۵{}", amount="۵۰٬۰۰۰", credited="۵۰٬۰۰۰ تومان",
    payable="۵۵٬۰۰۰ تومان",
    key_name="فروشگاه کتاب", question="سه کتاب خوب نام ببر.",
    words={"steps": "سه گام تا اولین پاسخ", "usage": "مصرف", "completed": "کامل"},
)  # fmt: skip
AT_A_DESK = Newcomer(
    language="en", size=DESK, mobile="0916 {}", amount="50,000", credited="50,000 Toman",
    payable="55,000 Toman",
    key_name="bookshop", question="Name three good books.",
    words={"steps": "Three steps to your first answer", "usage": "Usage", "completed": "completed"},
)  # fmt: skip


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(ON_A_PHONE, id="Persian on a phone"),
        pytest.param(AT_A_DESK, id="English at a desk", marks=pytest.mark.proof),
    ],
)
def test_a_newcomer_gets_from_a_mobile_number_to_a_paid_answer(
    web: WebProcess, browser: Browser, who: Newcomer
) -> None:
    visit = Visit(browser, web.url, language=who.language, size=who.size)
    page = visit.page

    page.goto("/")
    visit.look()
    page.locator("main a[href='/sign-in/']").click()
    page.wait_for_url("**/sign-in/")
    visit.look()
    page.locator("[name=mobile]").fill(who.mobile.format(f"{secrets.randbelow(10**7):07d}"))
    page.locator("main .button--primary").click()
    page.wait_for_url("**/sign-in/code/")
    visit.look()
    page.locator("[name=code]").fill(page.locator("#sandbox-code").inner_text())  # goes off by itself

    page.wait_for_url("**/overview/")
    visit.look()
    expect(page.get_by_role("heading", name=who.words["steps"])).to_be_visible()

    visit.go("/wallet/")
    visit.look()
    page.locator("input[name=amount]").fill(who.amount)
    page.locator("form:has(input[name=amount]) .button--primary").click()
    page.wait_for_url("**/wallet/topups/review/**")
    visit.look()
    expect(page.locator("main")).to_contain_text(who.payable)
    page.locator("main .button--primary").click()
    page.wait_for_url("**/wallet/sandbox/**")
    visit.look()
    expect(page.locator(".stat__value")).to_contain_text(who.payable)
    page.locator("button[value=pay]").click()
    page.wait_for_url("**/wallet/topups/**")
    visit.look()
    expect(page.locator(".notice--good")).to_contain_text(who.credited)

    visit.go("/keys/")
    visit.look()
    page.locator("main a[href='/keys/create/']").click()
    page.wait_for_url("**/keys/create/")
    visit.look()
    page.locator("[name=name]").fill(who.key_name)
    page.locator("main .button--primary").click()
    expect(page.locator("#secret")).to_be_visible()
    visit.look()
    page.locator("[data-copy='#secret']").click()
    expect(page.locator("#announce")).not_to_be_empty()
    secret = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"hm-[0-9A-Za-z]{36}", secret)

    tokens = ask(web.url, secret)

    visit.go("/usage/")
    visit.look()
    expect(page.locator("figure svg[role=img]")).to_have_count(4)
    page.locator(".tabs a[href*='/usage/requests/']").click()
    page.wait_for_url("**/usage/requests/")
    visit.look()
    log = page.locator("section[aria-labelledby=log] tbody tr")
    assert log.count() == 1
    for words in (who.key_name, f"hm-…{secret[-4:]}", MODEL, who.words["completed"]):
        expect(log).to_contain_text(words)
    shown = log.locator("td.num").all_inner_texts()[:2]
    assert [int(text) for text in shown] == tokens  # int() reads Persian digits, too
    log.locator("th a").click()
    page.wait_for_url(re.compile("/usage/[0-9a-f]{32}/$"))
    visit.look()

    page.goto("/wallet/statement/")
    visit.look()
    table = page.locator(".table-scroll")
    assert table.evaluate("it => it.scrollWidth - it.clientWidth") == 0, "a column is out of sight"
    spent, topped_up = page.locator("tbody tr").all()[:2]
    expect(spent).to_contain_text(who.words["usage"])
    expect(topped_up).to_contain_text(f"+{who.credited.split()[0]}")
    visit.go("/overview/")
    visit.look()
    expect(page.get_by_role("heading", name=who.words["steps"])).to_have_count(0)

    visit.go("/playground/")
    visit.look()
    page.locator("#model").select_option(MODEL)
    page.locator("#draft").fill(who.question)
    page.locator("#send").click()
    facts = page.locator(".turn__facts")
    expect(facts).to_contain_text(who.credited.split()[1])
    expect(page.locator("#turns .turn__text").last).to_have_value(re.compile(who.question))
    visit.look()
    visit.close()


def ask(url: str, secret: str) -> list[int]:
    """Calls the API as a program would; returns the tokens of the prompt and of the answer."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client:
        eventually(lambda: client.get(f"/v1/models/{MODEL}").status_code == 200)
        question = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
        answer = client.post("/v1/chat/completions", json=question)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    return [usage["prompt_tokens"], usage["completion_tokens"]]
