"""The playground in a real browser: answers that stream in, stop and fail, each said in words with what to do next."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.live import WebProcess
from tests.pages.seed import MODEL, Account
from tests.pages.visit import DESK, MARKS, Visit

pytestmark = MARKS

COMPLETIONS = "**/v1/chat/completions"
ANSWER = "#turns .turn:last-child .turn__text"


@pytest.fixture
def visit(web: WebProcess, browser: Browser, account: Account) -> Iterator[Visit]:
    visit = Visit(
        browser, web.url, language="en", size=DESK, cookies=account.cookies,
        expected=(400, 401, 402, 403, 404, 413, 429, 502),
    )  # fmt: skip
    visit.page.goto("/playground/")
    visit.page.locator("#model").select_option(MODEL)
    yield visit
    assert visit.complaints == []
    visit.close()


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit.page


def ask(page: Page, text: str) -> None:
    page.locator("#draft").fill(text)
    page.locator("#send").click()


def body_of(request: Request) -> dict[str, Any]:
    return dict(request.post_data_json or {})


def event(**chunk: object) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def delta(text: str) -> str:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}])


def stream_of(page: Page, *events: str) -> None:
    body = "".join(events)
    page.route(
        COMPLETIONS,
        lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body),
    )


def refuse(page: Page, status: int, code: str, **headers: str) -> None:
    error = {"error": {"message": f"words of {code}", "type": "t", "param": None, "code": code}}
    page.route(COMPLETIONS, lambda route: route.fulfill(status=status, headers=headers, json=error))


def test_a_conversation_goes_on_with_what_was_said_before(page: Page) -> None:
    page.locator("#system").fill("Be brief.")
    ask(page, "Good morning")
    expect(page.locator(ANSWER)).to_have_value("Hello! This is the sandbox upstream, not a language model. "
                                               "You wrote: Good morning")  # fmt: skip
    facts = page.locator(".turn__facts")
    expect(facts).to_contain_text("Toman")
    expect(facts).to_contain_text("first token after")
    expect(page.locator("#limits")).to_contain_text(" of ")
    expect(page.locator("#announce")).to_have_text("The answer is complete.")
    with page.expect_request(COMPLETIONS) as sent:
        page.locator("#draft").fill("And now?")
        page.locator("#draft").press("Control+Enter")
    body = body_of(sent.value)
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["stream_options"] == {"include_usage": True}
    assert "cookie" not in sent.value.all_headers()
    expect(facts).to_have_count(2)


def test_what_was_said_can_be_edited_turned_round_and_removed(page: Page) -> None:
    page.locator("#draft").fill("one")
    page.locator("#add").click()
    page.locator("#add").click()
    roles = page.locator(".turn__role")
    expect(roles.nth(0)).to_have_value("user")
    expect(roles.nth(1)).to_have_value("assistant")
    page.locator(".turn__text").nth(1).fill("two")
    roles.nth(1).select_option("user")
    page.locator(".turn__remove").nth(0).click()
    with page.expect_request(COMPLETIONS) as sent:
        page.locator("#send").click()
    assert body_of(sent.value)["messages"] == [{"role": "user", "content": "two"}]


def test_parameters_take_persian_digits_and_only_what_is_in_range(page: Page) -> None:
    page.locator("#temperature").fill("۹")
    ask(page, "Hello")
    expect(page.locator("#parameter-error")).to_be_visible()
    expect(page.locator("#temperature")).to_be_focused()
    page.locator("#temperature").fill("۰٫۵")
    expect(page.locator("#parameter-error")).to_be_hidden()
    page.locator("#max_tokens").fill("۳")
    page.locator("#stream").uncheck()
    with page.expect_request(COMPLETIONS) as sent:
        page.locator("#send").click()
    body = body_of(sent.value)
    assert (body["temperature"], body["max_tokens"], "stream" in body) == (0.5, 3, False)
    expect(page.locator(".turn__facts")).to_contain_text("cut off at the longest answer allowed")


def test_a_stopped_answer_stays_and_says_that_it_is_paid_for(page: Page) -> None:
    ask(page, "word " * 400)
    expect(page.locator(ANSWER)).to_have_value(re.compile("This is"))
    page.keyboard.press("Escape")
    expect(page.locator(".turn__facts")).to_contain_text("stopped")
    kept = page.locator(ANSWER).input_value()
    assert kept.startswith("Hello! This is")
    assert kept.count("word") < 400
    expect(page.locator("#send")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "invalid_value", "words of invalid_value"),
        (402, "insufficient_balance", "Your wallet does not cover this call."),
        (403, "wallet_frozen", "Your wallet is being checked."),
        (404, "model_not_found", "This model is no longer on sale."),
        (413, "request_too_large", "The conversation has become too long."),
        (400, "context_length_exceeded", "The conversation has become too long."),
        (502, "upstream_error", "The model is not answering right now."),
    ],
)
def test_a_refusal_says_what_to_do_next(page: Page, status: int, code: str, words: str) -> None:
    refuse(page, status, code)
    ask(page, "Hello")
    expect(page.locator("#trouble")).to_contain_text(words)
    expect(page.locator("#announce")).to_contain_text(words)
    expect(page.locator(".turn")).to_have_count(1)  # the question stays, ready to be sent again


def test_a_wallet_that_is_too_empty_leads_to_the_top_up(page: Page) -> None:
    refuse(page, 402, "insufficient_balance")
    ask(page, "Hello")
    page.locator("#trouble a").click()
    page.wait_for_url("**/wallet/")


def test_who_asked_too_often_waits_as_long_as_the_answer_says(page: Page) -> None:
    refuse(page, 429, "rate_limit_exceeded", **{"Retry-After": "2"})
    ask(page, "Hello")
    again = page.locator("[data-again]")
    expect(again).to_be_disabled()
    expect(page.locator("#trouble")).to_contain_text("You can continue in")
    expect(again).to_be_enabled()
    page.unroute(COMPLETIONS)
    again.click()
    expect(page.locator(".turn__facts")).to_be_visible()
    expect(page.locator("#trouble")).to_be_empty()


def test_a_conversation_beyond_the_limit_of_a_minute_is_not_to_be_sent_again(page: Page) -> None:
    refuse(page, 413, "request_exceeds_limit")
    ask(page, "Hello")
    expect(page.locator("#trouble")).to_contain_text("more than your tier allows per minute")
    expect(page.locator("[data-again]")).to_have_count(0)


def test_an_answer_that_breaks_off_keeps_what_has_arrived(page: Page) -> None:
    stream_of(page, delta("Half an"), event(error={"message": "gone", "code": "upstream_error"}))
    ask(page, "Hello")
    expect(page.locator("#trouble")).to_contain_text("The answer broke off.")
    expect(page.locator(ANSWER)).to_have_value("Half an")


def test_a_stream_without_its_end_is_a_lost_connection(page: Page) -> None:
    stream_of(page, delta("Half an"))
    ask(page, "Hello")
    expect(page.locator("#trouble")).to_contain_text("The connection was lost.")
    expect(page.locator(ANSWER)).to_have_value("Half an")


def test_a_key_that_another_page_replaced_is_asked_for_again(page: Page, visit: Visit) -> None:
    ask(page, "Hello")
    expect(page.locator(".turn__facts")).to_have_count(1)
    other = visit.context.new_page()
    other.goto("/playground/")
    other.locator("#model").select_option(MODEL)
    ask(other, "Hello")
    expect(other.locator(".turn__facts")).to_have_count(1)
    with page.expect_response("**/playground/session/"):
        ask(page, "Once more")
    expect(page.locator(".turn__facts")).to_have_count(2)


def test_who_is_signed_out_keeps_the_conversation(page: Page, visit: Visit, account: Account) -> None:
    visit.context.clear_cookies()
    ask(page, "Hello")
    expect(page.locator("#trouble")).to_contain_text("You are signed out.")
    cookies = {"hamiran_language": "en", **account.cookies}
    visit.context.add_cookies(
        [{"name": name, "value": value, "url": page.url} for name, value in cookies.items()]
    )
    page.locator("[data-again]").click()
    expect(page.locator(".turn__facts")).to_be_visible()


def test_a_new_conversation_forgets_the_old_one(page: Page) -> None:
    ask(page, "word " * 400)
    page.locator("#turns .turn").nth(1).wait_for()
    page.locator("#clear").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#nothing")).to_be_visible()
    expect(page.locator("#draft")).to_be_focused()
    expect(page.locator("#trouble")).to_be_empty()
    expect(page.locator("#send")).to_be_visible()


def test_markup_in_an_answer_is_text(page: Page) -> None:
    markup = "<img src=x onerror=alert(1)>"
    stream_of(page, delta(markup), "data: [DONE]\n\n")
    ask(page, markup)
    expect(page.locator(ANSWER)).to_have_value(markup)
    expect(page.locator("#playground img")).to_have_count(0)


def test_the_code_on_the_page_runs(page: Page, web: WebProcess) -> None:
    """With a key in its place, and the address that this process listens at."""
    ask(page, "It's “fine”")
    expect(page.locator(".turn__facts")).to_be_visible()
    page.locator(".turn__remove").nth(1).click()
    page.locator("#stream").uncheck()
    base = str(page.locator("#playground").get_attribute("data-base"))
    token = page.locator("#playground [name=csrfmiddlewaretoken]").input_value()
    key = page.evaluate(
        "(token) => fetch('/playground/session/', {method: 'POST', headers: {'X-CSRFToken': token}})"
        ".then((answer) => answer.json()).then((given) => given.key)",
        token,
    )

    def runnable(language: str) -> str:
        page.locator(f"[name=example][value={language}]").check()
        code = page.locator(f"#{language}-code").inner_text()
        return code.replace("hm-your-api-key", key).replace(base, f"{web.url}/v1")

    wanted = "You wrote: It's “fine”"
    python = subprocess.run(
        [sys.executable, "-c", runnable("python")], capture_output=True, text=True, check=True
    )
    assert wanted in python.stdout
    curl = subprocess.run(["/bin/sh", "-c", runnable("curl")], capture_output=True, text=True, check=True)
    assert wanted in json.loads(curl.stdout)["choices"][0]["message"]["content"]
