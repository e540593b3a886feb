"""The pages of webhooks: what owners do there, what a second click does, and what they never show."""

import re
from typing import Any

import pytest
from django.test import Client
from standardwebhooks import Webhook

from accounts import secrets
from accounts.models import User
from accounts.signals import outbox
from accounts.signals.endpoints import MAX_ENDPOINTS
from accounts.signals.models import WebhookEndpoint
from tests.accounts.signals.conftest import Clock, happen, run
from tests.accounts.signals.receiver import Receiver, status
from tests.factories import SIGNING_SECRET, UserFactory, WebhookEndpointFactory

pytestmark = pytest.mark.django_db
HERE = "/settings/webhooks/"


def signed_in(user: User) -> Client:
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    browser.cookies["hamiran_language"] = "en"
    return browser


def text(browser: Client, path: str) -> str:
    page = browser.get(path)
    assert page.status_code == 200
    return page.content.decode()


def test_settings_lead_to_webhooks_and_an_empty_list_to_the_first_one() -> None:
    browser = signed_in(UserFactory.create())
    assert f'href="{HERE}"' in text(browser, "/settings/")
    page = text(browser, HERE)
    assert "No webhook yet" in page
    assert f'href="{HERE}add/"' in page


def test_a_webhook_is_added_and_its_secret_shown_once() -> None:
    user = UserFactory.create()
    browser = signed_in(user)
    form = {"address": "http://127.0.0.1:8000/hook", "events": ["balance.low", "key.created"]}
    answer = browser.post(f"{HERE}add/", form)
    endpoint = WebhookEndpoint.objects.get(user=user)
    (secret,) = set(re.findall(r"whsec_[A-Za-z0-9+/=]+", answer.content.decode()))
    assert secrets.decrypt(endpoint.secret_encrypted) == secret
    assert "no-store" in answer.headers["cache-control"]
    for path in (HERE, f"{HERE}{endpoint.pk}/", f"{HERE}{endpoint.pk}/edit/"):
        assert "whsec_" not in text(browser, path)
    again = browser.post(f"{HERE}add/", form)
    assert again.status_code == 400
    assert "with this address already" in again.content.decode()
    assert WebhookEndpoint.objects.filter(user=user).count() == 1


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"address": ""}, "Enter the address of your receiver."),
        ({"address": "https://10.0.0.1/hook"}, "not found on the public Internet"),
        ({"address": "ftp://127.0.0.1/"}, "must start with https://"),
        ({"address": "http://127.0.0.1/"}, "Choose at least one event."),
        ({"address": "http://127.0.0.1/", "events": ["no.such"]}, "no.such"),
        ({"address": "\x00", "events": ["key.created"]}, "Null characters"),
    ],
)
def test_what_is_filled_in_wrongly_is_said_and_loses_nothing(form: dict[str, Any], said: str) -> None:
    browser = signed_in(UserFactory.create())
    page = browser.post(f"{HERE}add/", form)
    assert page.status_code == 400
    assert said in page.content.decode()
    if address := form.get("address", "").strip("\x00"):
        assert address in page.content.decode()


def test_a_full_account_is_told_so() -> None:
    user = UserFactory.create()
    WebhookEndpointFactory.create_batch(MAX_ENDPOINTS, user=user)
    browser = signed_in(user)
    assert "You have 10 webhooks" in text(browser, HERE)
    form = {"address": "http://127.0.0.1:8000/hook", "events": ["key.created"]}
    assert "which is the most" in browser.post(f"{HERE}add/", form).content.decode()


def test_address_and_events_are_edited() -> None:
    endpoint = WebhookEndpointFactory.create()
    browser = signed_in(endpoint.user)
    page = text(browser, f"{HERE}{endpoint.pk}/edit/")
    assert f'value="{endpoint.address}"' in page
    assert page.count("checked") == 9
    browser.post(f"{HERE}{endpoint.pk}/edit/", {"address": "http://127.0.0.1/b", "events": ["budget.80"]})
    endpoint.refresh_from_db()
    assert (endpoint.address, endpoint.events) == ("http://127.0.0.1/b", ["budget.80"])


def test_it_is_paused_resumed_and_deleted_and_second_clicks_do_no_harm() -> None:
    endpoint = WebhookEndpointFactory.create()
    browser = signed_in(endpoint.user)
    here = f"{HERE}{endpoint.pk}/"
    for verb, state in (("pause", "paused"), ("pause", "paused"), ("resume", "active"), ("resume", "active")):
        assert browser.post(f"{here}{verb}/").headers["location"] == here
        endpoint.refresh_from_db()
        assert endpoint.state == state
    assert endpoint.address in text(browser, f"{here}delete/")
    for said in ("The webhook is deleted.", "was already deleted"):
        assert said in browser.post(f"{here}delete/", follow=True).content.decode()
    assert browser.get(here).status_code == 404


def test_a_secret_is_replaced_once_however_often_the_form_is_sent() -> None:
    endpoint = WebhookEndpointFactory.create()
    browser = signed_in(endpoint.user)
    path = f"{HERE}{endpoint.pk}/secret/"
    version = re.findall(r'name="version" value="([^"]*)"', text(browser, path))[0]
    answer = browser.post(path, {"version": version})
    (secret,) = set(re.findall(r"whsec_[A-Za-z0-9+/=]+", answer.content.decode()))
    again = browser.post(path, {"version": version}, follow=True)
    assert "was replaced a moment ago" in again.content.decode()
    endpoint.refresh_from_db()
    assert secrets.decrypt(endpoint.secret_encrypted) == secret
    assert endpoint.previous_secret_encrypted is not None
    assert secrets.decrypt(endpoint.previous_secret_encrypted) == SIGNING_SECRET


def test_others_find_nothing() -> None:
    endpoint = WebhookEndpointFactory.create()
    outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
    delivery = endpoint.deliveries.get()
    browser = signed_in(UserFactory.create())
    here = f"{HERE}{endpoint.pk}/"
    for path in (here, f"{here}edit/", f"{here}secret/", f"{here}delete/", f"{here}{delivery.pk}/"):
        assert browser.get(path).status_code == 404
    for verb in ("edit", "secret", "pause", "resume", "test", f"{delivery.pk}/replay"):
        assert browser.post(f"{here}{verb}/").status_code == 404
    browser.post(f"{here}delete/")
    endpoint.refresh_from_db()
    assert endpoint.state == "active"
    assert Client().get(HERE).status_code == 302
    assert browser.get(f"{HERE}{10**30}/").status_code == 404


def test_what_changes_something_asks_for_a_post() -> None:
    endpoint = WebhookEndpointFactory.create()
    browser = signed_in(endpoint.user)
    for verb in ("pause", "resume", "test"):
        assert browser.get(f"{HERE}{endpoint.pk}/{verb}/").status_code == 405


def test_deliveries_are_shown_as_they_went_and_sent_again(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    browser = signed_in(endpoint.user)
    here = f"{HERE}{endpoint.pk}/"
    assert "Nothing has been sent yet" in text(browser, here)
    receiver.answer = status(500)
    happen(endpoint, 1, 2)
    run(clock)
    page = text(browser, here)
    for said in ("failing", "HTTP 500", "trying again", "waiting", "has not accepted anything since"):
        assert said in page
    first, second = endpoint.deliveries.order_by("id")
    receiver.answer = status(200)
    browser.post(f"{here}{first.pk}/replay/")
    run(clock)
    page = text(browser, f"{here}{first.pk}/")
    shown = re.findall(r'id="payload">(.*?)</code>', page, re.DOTALL)[0].replace("&quot;", '"')
    assert shown.encode() == receiver.got[0].body
    assert str(first.event_id) in page
    Webhook(SIGNING_SECRET).verify(receiver.got[-1].body, receiver.got[-1].headers)
    receiver.got.clear()
    sent = browser.post(f"{here}{first.pk}/replay/", {"since": "1"}, follow=True).content.decode()
    assert "2 events are being sent again, in order." in sent
    run(clock)
    assert receiver.numbers() == [1, 2]
    browser.post(f"{here}{second.pk}/replay/")
    run(clock)
    assert receiver.numbers() == [1, 2, 2]


def test_a_test_is_sent_from_the_page(endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock) -> None:
    browser = signed_in(endpoint.user)
    for _ in range(2):
        browser.post(f"{HERE}{endpoint.pk}/test/")
    run(clock)
    assert len(receiver.got) == 1
    assert "webhook.test" in text(browser, f"{HERE}{endpoint.pk}/")


def test_a_disabled_webhook_says_why_and_a_paused_one_that_events_wait() -> None:
    endpoint = WebhookEndpointFactory.create(state="disabled", disabled_because="gone")
    browser = signed_in(endpoint.user)
    assert "answered 410 Gone" in text(browser, f"{HERE}{endpoint.pk}/")
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(disabled_because="failing")
    assert "for seven days" in text(browser, f"{HERE}{endpoint.pk}/")
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(state="paused", disabled_because="")
    assert "events wait here" in text(browser, f"{HERE}{endpoint.pk}/")


def test_broken_cursors_show_the_first_page() -> None:
    endpoint = WebhookEndpointFactory.create()
    outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
    browser = signed_in(endpoint.user)
    for cursor in ("x", "-1", "9" * 40, ""):
        assert "key.created" in text(browser, f"{HERE}{endpoint.pk}/?before={cursor}")
    assert "There is nothing older." in text(browser, f"{HERE}{endpoint.pk}/?before=1")
