"""Every page of the site and how to get there. What walks through all of them takes this list."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page

from tests.pages.seed import MODEL, Account


def stay(page: Page) -> None:
    """The page is there once it is loaded."""


def ask_for_a_code(page: Page) -> None:
    page.locator("[name=mobile]").fill(f"0917{secrets.randbelow(10**7):07d}")
    page.locator("main .button--primary").click()
    page.wait_for_url("**/sign-in/code/")


def make_a_key(page: Page) -> None:
    page.locator("[name=name]").fill("وب‌سایت")
    page.locator("main .button--primary").click()
    page.locator("#secret").wait_for()


def make_an_admin_key(page: Page) -> None:
    page.locator("[name=name]").fill("سامانهٔ فروش")
    page.locator("[name=scopes]").first.check()
    page.locator("main .button--primary").click()
    page.locator("#secret").wait_for()


def connect_a_messenger(page: Page) -> None:
    page.locator("form[action$='/bale/connect/'] button").click()
    page.locator("#link").wait_for()


def ask_a_question(page: Page) -> None:
    page.locator("#model").select_option(MODEL)
    page.locator("#draft").fill("سلام! دربارهٔ شیراز و باغ‌هایش بنویس.")
    page.locator("#draft").press("Control+Enter")
    page.locator(".turn__facts").wait_for()


def draw_a_picture(page: Page) -> None:
    page.locator("#text").fill("درخت گردو در پاییز")
    page.locator("#send").click()
    page.locator("#result").wait_for()


def add_a_webhook(page: Page) -> None:
    page.locator("[name=address]").fill(f"http://127.0.0.1:9/{secrets.token_hex(8)}")
    page.locator("main .button--primary").click()
    page.locator("#secret").wait_for()


@dataclass(frozen=True, slots=True)
class Place:
    """`path` has ids of the account in braces; `arrive` is what is done there before anybody looks.

    `is_admin`: an admin looks, not the account's owner.
    """

    name: str
    path: str
    signed_in: bool = True
    is_admin: bool = False
    status: int = 200
    arrive: Callable[[Page], None] = stay

    def cookies(self, account: Account) -> dict[str, str]:
        if self.is_admin:
            return account.admin_cookies
        return account.cookies if self.signed_in else {}


PLACES = (
    Place("front", "/", signed_in=False),
    Place("sign-in", "/sign-in/", signed_in=False),
    Place("code", "/sign-in/", signed_in=False, arrive=ask_for_a_code),
    Place("models", "/models/", signed_in=False),
    Place("reference", "/docs/", signed_in=False),
    Place("status", "/status/", signed_in=False),
    Place("billing-rules", "/docs/billing/", signed_in=False),
    Place("not-found", "/nothing/", signed_in=False, status=404),
    Place("overview", "/overview/"),
    Place("keys", "/keys/"),
    Place("key-create", "/keys/create/"),
    Place("key-created", "/keys/create/", arrive=make_a_key),
    Place("key", "/keys/{key}/"),
    Place("key-edit", "/keys/{key}/edit/"),
    Place("key-rotate", "/keys/{key}/rotate/"),
    Place("key-revoke", "/keys/{key}/revoke/"),
    Place("admin-keys", "/keys/admin/"),
    Place("admin-key-create", "/keys/admin/create/"),
    Place("admin-key-created", "/keys/admin/create/", arrive=make_an_admin_key),
    Place("admin-key-revoke", "/keys/admin/{admin_key}/revoke/"),
    Place("key-changes", "/keys/changes/"),
    Place("projects", "/projects/"),
    Place("project-create", "/projects/create/"),
    Place("project", "/projects/{project}/"),
    Place("project-joined", "/projects/{joined}/"),
    Place("project-edit", "/projects/{project}/edit/"),
    Place("project-key-create", "/projects/{project}/keys/create/"),
    Place("project-remove", "/projects/{project}/members/{member}/remove/"),
    Place("project-leave", "/projects/{joined}/leave/"),
    Place("project-close", "/projects/{project}/close/"),
    Place("usage", "/usage/"),
    Place("end-users", "/usage/end-users/"),
    Place("request-log", "/usage/requests/"),
    Place("request", "/usage/{request}/"),
    Place("wallet", "/wallet/"),
    Place("topup-review", "/wallet/topups/review/?amount=200000"),
    Place("topup-paid", "/wallet/topups/{paid}/"),
    Place("topup-cancelled", "/wallet/topups/{cancelled}/"),
    Place("topup-waiting", "/wallet/topups/{waiting}/"),
    Place("sandbox-payment", "/wallet/sandbox/{payment}/"),
    Place("statement", "/wallet/statement/"),
    Place("invoices", "/wallet/invoices/"),
    Place("invoice", "/wallet/topups/{paid}/invoice/"),
    Place("invoice-details", "/wallet/invoices/details/"),
    Place("connect", "/connect/"),
    Place("playground", "/playground/"),
    Place("playground-answer", "/playground/", arrive=ask_a_question),
    Place("playground-images", "/playground/images/", arrive=draw_a_picture),
    Place("playground-speech", "/playground/speech/"),
    Place("playground-transcriptions", "/playground/transcriptions/"),
    Place("playground-embeddings", "/playground/embeddings/"),
    Place("settings", "/settings/"),
    Place("channel-connect", "/settings/", arrive=connect_a_messenger),
    Place("webhooks", "/settings/webhooks/"),
    Place("webhook-add", "/settings/webhooks/add/"),
    Place("webhook-added", "/settings/webhooks/add/", arrive=add_a_webhook),
    Place("webhook", "/settings/webhooks/{webhook}/"),
    Place("webhook-edit", "/settings/webhooks/{webhook}/edit/"),
    Place("webhook-secret", "/settings/webhooks/{webhook}/secret/"),
    Place("webhook-delete", "/settings/webhooks/{webhook}/delete/"),
    Place("webhook-delivery", "/settings/webhooks/{webhook}/{delivery}/"),
    Place("admin-front", "/admin/?period=30d", is_admin=True),
    Place("admin-figures", "/admin/figures/models/?period=30d", is_admin=True),
    Place("session-end", "/settings/sessions/{session}/end/"),
    Place("sessions-end", "/settings/sessions/end-others/"),
)
