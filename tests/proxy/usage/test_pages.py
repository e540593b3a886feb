"""The usage pages show what is asked for, say what is wrong, and show nothing of anybody else."""

import re
import uuid
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from proxy.usage import end_users_csv, periods
from proxy.usage import log as usage_log
from proxy.usage.models import UsageRecord
from proxy.usage.origins import end_user
from tests.factories import UserFactory, WalletFactory
from tests.proxy.factories import APIKeyFactory, PriceFactory
from tests.proxy.usage.used import record
from wallet.ledger.models import JournalEntry

pytestmark = pytest.mark.django_db

PAGES = ["proxy:usage", "proxy:end_users", "proxy:log"]


@pytest.fixture
def user() -> User:
    made: User = UserFactory.create()
    return made


@pytest.fixture
def page(client: Client, user: User) -> Client:
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


def shown(page: Client, name: str, query: dict[str, Any] | None = None, status: int = 200) -> str:
    response = page.get(reverse(name), query or {})
    assert response.status_code == status
    content: str = response.content.decode()
    assert "style=" not in content  # the content security policy would drop it
    return content


@pytest.mark.parametrize(
    "address",
    [
        "/usage/",
        "/usage/end-users/",
        "/usage/requests/",
        "/usage/requests.csv",
        "/usage/end-users.csv",
        f"/usage/{uuid.UUID(int=1)}/",
    ],
)
def test_the_pages_ask_who_is_there(client: Client, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 302
    assert reverse("accounts:sign_in") in response["Location"]


@pytest.mark.parametrize("name", [*PAGES, "proxy:log_csv", "proxy:end_users_csv"])
def test_the_pages_are_read_only(page: Client, name: str) -> None:
    assert page.post(reverse(name)).status_code == 405
    assert page.head(reverse(name)).status_code == 200


# --- figures --------------------------------------------------------------------------------------------------------


def test_an_account_that_used_nothing_is_told_what_will_be_here(page: Client) -> None:
    content = shown(page, "proxy:usage")
    assert "Nothing used in this period" in content
    assert "<figure" not in content


@pytest.mark.parametrize("period", [*periods.PRESETS, "nonsense"])
def test_the_page_has_four_pictures_in_words_too_and_the_table_beside_them(
    page: Client, user: User, period: str
) -> None:
    record(
        user, timezone.now(), prompt_tokens=1_234, completion_tokens=5_678, model="model-x", total_ms=2_000
    )
    content = shown(page, "proxy:usage", {"period": period})
    assert re.findall(r'<svg class="picture__drawing"[^>]*\srole="img" aria-labelledby="(\w+)-title', content) == [
        "requests", "cost", "tokens", "latency",
    ]  # fmt: skip
    descriptions = re.findall(r"<desc.*?>(.*?)</desc>", content)
    assert all("on the left to" in each for each in descriptions)
    assert "Highest: 6,912." in descriptions[2]
    assert content.count("1,234") >= 3  # sum, slice, share
    assert "1,234 tokens in, 0 of them cached; 5,678 out" in content  # what a pointer is told
    assert "model-x" in content


def test_time_runs_the_way_persian_is_read(page: Client, user: User) -> None:
    page.cookies["hamiran_language"] = "fa"
    record(user, timezone.now(), prompt_tokens=1_234)
    content = shown(page, "proxy:usage", {"period": "7d"})
    assert 'dir="rtl"' in content
    assert "۱٬۲۳۴" in content
    assert re.search(r'look--a" d="M1 0h8v200h-8z"', content)  # today, at the left, in ASCII digits


def test_figures_can_be_of_a_key_and_a_model(page: Client, user: User) -> None:
    key = APIKeyFactory.create(user=user, name="laptop")
    record(user, timezone.now(), key_id=key.pk, model="small", prompt_tokens=1_111)
    record(user, timezone.now(), key_id=key.pk, model="large", prompt_tokens=2_222)
    content = shown(page, "proxy:usage", {"key": key.pk, "model": "large"})
    assert "2,222" in content
    assert "1,111" not in content
    assert re.search(r'<option value="large" selected>', content)
    assert '<option value="small">' in content
    assert f'<option value="{key.pk}" selected>laptop (hm-…wxyz)</option>' in content
    assert f"?key={key.pk}&amp;model=large" in content  # the log of the same


def test_a_filter_that_finds_nothing_leads_back_to_everything(page: Client, user: User) -> None:
    record(user, timezone.now(), model="small")
    content = shown(page, "proxy:usage", {"model": "large", "period": "7d"})
    assert "Others may have been used" in content
    assert "?period=7d&amp;since=&amp;until=" in content


# --- what can be typed wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"since": "1405/13/01"}, "Enter a day such as 1405/09/02 or 2026-11-23."),
        ({"since": "soon"}, "Enter a day such as 1405/09/02 or 2026-11-23."),
        ({"until": "1405/09/02"}, "Enter the first day, such as 1405/09/02 or 2026-11-23."),
        ({"since": "1405/09/02", "until": "1405/09/01"}, "The last day comes before the first one."),
        ({"since": "2199-01-01"}, "This day has not come yet."),
        ({"since": "2020-01-01"}, "Choose a year at most."),
        ({"key": "999999999"}, "Select a valid choice."),
        ({"key": "x"}, "Select a valid choice."),
        ({"model": "m" * 121}, "at most 120"),
    ],
)
def test_what_is_wrong_is_said(page: Client, name: str, query: dict[str, str], error: str) -> None:
    if "until" in query and "since" in query:
        query = {"since": "2026-01-05", "until": "2026-01-04"}
    assert error in unescape(shown(page, name, query, status=400))


def test_a_part_of_the_page_that_is_refused_says_so_too(page: Client) -> None:
    response = page.get(reverse("proxy:usage"), {"since": "soon"}, headers={"HX-Request": "true"})
    assert response.status_code == 200
    notice = re.search(
        r'<div id="shown".*?role="alert">(.*?)</div>',
        response.content.decode().replace('class="stack" id', "id"),
        re.DOTALL,
    )
    assert notice is not None
    assert "From the day: Enter a day" in notice[1]
    assert response["HX-Push-Url"] == "false"  # nothing to come back to


@pytest.mark.parametrize("day", ["{0.year}-{0.month}-{0.day}", "۱۴۰۴/۱۰/۱۱"])
def test_days_are_chosen_by_either_calendar(page: Client, user: User, day: str) -> None:
    chosen = timezone.localtime().replace(year=2026, month=1, day=1, hour=12)
    record(user, chosen, prompt_tokens=4_321)
    record(user, chosen + timedelta(days=1), prompt_tokens=8_765)
    typed = day.format(chosen)
    content = shown(page, "proxy:usage", {"period": "days", "since": typed, "until": typed})
    assert "By hour" in content
    assert "4,321" in content
    assert "8,765" not in content


def test_days_that_nobody_has_chosen_yet_are_no_error(page: Client, user: User) -> None:
    record(user, timezone.now(), prompt_tokens=4_321)
    content = shown(page, "proxy:usage", {"period": "days", "since": "", "until": ""})
    assert "4,321" in content
    assert 'value="days"' in content


def test_the_key_of_somebody_else_cannot_be_asked_for(page: Client) -> None:
    other = APIKeyFactory.create(name="a stranger's")
    content = shown(page, "proxy:usage", {"key": other.pk}, status=400)
    assert "stranger" not in content


# --- the log --------------------------------------------------------------------------------------------------------


def test_the_log_keeps_its_filter_from_page_to_page(page: Client, user: User) -> None:
    for i in range(usage_log.PAGE + 1):
        record(user, timezone.now() - timedelta(minutes=i), prompt_tokens=100_000 + i, model="wanted")
        record(user, timezone.now() - timedelta(minutes=i), prompt_tokens=200_000 + i, model="other")
    content = shown(page, "proxy:log", {"model": "wanted", "period": "90d"})
    link = re.search(r'rel="next" href="([^"]+)"', content)
    assert link is not None
    second = page.get(unescape(link[1])).content.decode()
    assert "100,050" in second
    assert "100,049" not in second
    assert "200,0" not in second
    assert "Newest" in second
    assert "Older" not in second


def test_the_log_tells_of_each_request_what_it_was(page: Client, user: User) -> None:
    made = record(
        user, timezone.now(), stream=True, prompt_tokens=1_234, cached_tokens=234, completion_tokens=56,
        billed_by="estimate", outcome="client_left", first_byte_ms=321, total_ms=12_345, model="model-x",
    )  # fmt: skip
    content = shown(page, "proxy:log")
    for expected in (
        made.id.hex, "1,234", "cached 234", "56", "streamed", "estimate", "client left", "first byte 321 ms", "12.3 s",
    ):  # fmt: skip
        assert expected in content
    assert reverse("proxy:request", args=[made.id.hex]) in content


def test_failed_requests_can_be_looked_at_alone(page: Client, user: User) -> None:
    record(user, timezone.now(), prompt_tokens=1_111)
    for outcome in usage_log.FAILED:
        record(user, timezone.now(), prompt_tokens=2_222, outcome=outcome)
    content = shown(page, "proxy:log", {"outcome": "failed"})
    assert content.count("2,222") == 3
    assert "1,111" not in content


def test_an_empty_log_says_why(page: Client, user: User) -> None:
    assert "No such request" in shown(page, "proxy:log")
    record(user, timezone.now() - timedelta(days=2))
    cursor = f"0_{uuid.UUID(int=1).hex}"
    assert "There is nothing older" in shown(page, "proxy:log", {"before": cursor})


# --- one request ----------------------------------------------------------------------------------------------------


@pytest.fixture
def booked(user: User) -> UsageRecord:
    wallet = WalletFactory.create(user=user, credit_micro=10_000_000_000)
    made = record(
        user, timezone.now(), prompt_tokens=3_000, cached_tokens=1_000, completion_tokens=500,
        input_rial_per_million=100_000, output_rial_per_million=400_000, cached_input_rial_per_million=25_000,
    )  # fmt: skip
    leg = {"transaction_id": made.id, "kind": "completion", "created_at": timezone.now()}
    with transaction.atomic():
        JournalEntry.objects.bulk_create(
            [
                JournalEntry(
                    account="wallet",
                    wallet=wallet,
                    amount_micro=-made.cost_micro,
                    balance_micro=10_000_000_000 - made.cost_micro,
                    **leg,
                ),
                JournalEntry(account="revenue", amount_micro=made.cost_micro, **leg),
            ]
        )
    return made


@pytest.mark.parametrize("written", ["hex", "with dashes"])
def test_a_request_s_page_shows_its_price_and_what_was_booked(
    page: Client, booked: UsageRecord, written: str
) -> None:
    request_id = booked.id.hex if written == "hex" else str(booked.id)
    content = page.get(reverse("proxy:request", args=[request_id])).content.decode()
    assert booked.cost_micro == 425_000_000
    for expected in (
        booked.id.hex, "2,000", "1,000", "500", "10,000 Toman", "2,500 Toman", "40,000 Toman",  # of a million
        "20 Toman", "2.5 Toman", "42.5 Toman", "-42.5 Toman", "957.5 Toman", "The answer arrived in full.",
    ):  # fmt: skip
        assert expected in content


def test_a_request_s_page_shows_every_part_of_its_cost(page: Client, user: User) -> None:
    further = {"components": {"reasoning": 900_000, "request": 500}}
    price = PriceFactory.create(
        input_rial_per_million=100_000, output_rial_per_million=400_000, further=further
    )
    made = record(
        user, timezone.now(), prompt_tokens=3_000, completion_tokens=500,
        price_list_id=price.pk, quantities={"reasoning": 200, "request": 1},
        cost_micro=3_000 * 100_000 + 300 * 400_000 + 200 * 900_000 + 5 * 10**8,
    )  # fmt: skip
    content = page.get(reverse("proxy:request", args=[made.id])).content.decode()
    for expected in (
        "reasoning", "90,000 Toman", "18 Toman", "request, each", "50 Toman", "300", "12 Toman", "110 Toman",
    ):  # fmt: skip
        assert expected in content


def test_a_request_that_cost_nothing_says_so(page: Client, user: User) -> None:
    made = record(
        user, timezone.now(), outcome="refused", billed_by="nothing", status=502, cost_micro=0,
        prompt_tokens=0, completion_tokens=0,
    )  # fmt: skip
    content = page.get(reverse("proxy:request", args=[made.id.hex])).content.decode()
    assert "refused this request. It cost nothing." in content
    assert "no entry: nothing was taken" in content


def test_what_went_beyond_the_hold_is_shown_as_not_charged(page: Client, user: User) -> None:
    made = record(user, timezone.now(), uncovered_micro=10_000, cost_micro=20_000)
    content = page.get(reverse("proxy:request", args=[made.id.hex])).content.decode()
    assert "-0.001 Toman" in content


@pytest.mark.parametrize("request_id", [uuid.UUID(int=5).hex, "nonsense", "0" * 33])
def test_a_request_that_does_not_exist_is_not_found(page: Client, request_id: str) -> None:
    assert page.get(f"/usage/{request_id}/").status_code == 404


def test_the_request_of_somebody_else_does_not_exist(page: Client) -> None:
    made = record(UserFactory.create(), timezone.now())
    assert page.get(reverse("proxy:request", args=[made.id.hex])).status_code == 404


# --- end users, endpoints and clients' own ids ------------------------------------------------------------------------


def made_for(user: User, name: str, **fields: Any) -> UsageRecord:
    named = end_user(name, user_id=user.pk)
    assert named is not None
    return record(user, timezone.now(), end_user=named.digest, end_user_hint=named.hint, **fields)


def rows(page: str, section: str) -> list[str]:
    _before, _heading, after = page.partition(f'id="{section}"')
    body = after.partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(unescape(re.sub("<[^>]*>", " ", row)).split()) for row in body.split("<tr>")[1:]]


def test_the_figures_are_told_by_endpoint_and_end_user(page: Client, user: User) -> None:
    made_for(user, "ali", endpoint="messages")
    made_for(user, "x" * 70, completion_tokens=100)
    record(user, timezone.now())
    text = shown(page, "proxy:usage")
    assert [row.split()[:2] for row in rows(text, "by-endpoint")] == [["chat", "2"], ["messages", "1"]]
    assert "Cost by endpoint" in text
    text = shown(page, "proxy:end_users")
    assert [row.split()[:2] for row in rows(text, "by-end-user")] == [
        [end_user("x" * 70, user_id=user.pk).hint, "1"],  # type: ignore[union-attr]
        ["ali", "1"],
    ]
    [link] = re.findall(r'href="([^"]*user=[^"]*)">\s*<bdi>x', text)
    assert [len(rows(page.get(unescape(link)).text, "log"))] == [1]


def test_of_one_endpoint_there_is_no_picture_of_endpoints(page: Client, user: User) -> None:
    record(user, timezone.now())
    assert "Cost by endpoint" not in shown(page, "proxy:usage")


def test_without_end_users_the_page_tells_how_to_name_them(page: Client, user: User) -> None:
    record(user, timezone.now())
    assert "No end user was named" in shown(page, "proxy:end_users")


def test_end_users_are_counted_by_whole_days_of_any_number(page: Client, user: User) -> None:
    made_for(user, "ali")
    today = timezone.localdate().isoformat()
    one_day = shown(page, "proxy:end_users", {"period": "days", "since": today, "until": today})
    assert len(rows(one_day, "by-end-user")) == 1
    assert "End users are counted by whole days" in shown(page, "proxy:end_users", {"period": "48h"})


def test_more_endpoints_than_can_be_told_apart_are_drawn_together(page: Client, user: User) -> None:
    for endpoint in ("chat", "messages", "images", "speech"):
        record(user, timezone.now(), endpoint=endpoint)
    text = shown(page, "proxy:usage")
    assert "others" in text.partition("Cost by endpoint")[2]


def test_figures_can_be_asked_for_by_endpoint(page: Client, user: User) -> None:
    record(user, timezone.now(), endpoint="messages")
    record(user, timezone.now())
    assert [
        row.split()[0] for row in rows(shown(page, "proxy:usage", {"endpoint": "messages"}), "by-endpoint")
    ] == ["messages"]
    assert "Nothing used in this period" in shown(page, "proxy:usage", {"endpoint": "speech"})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"user": "ali"}, 1),
        ({"user": " ali "}, 1),
        ({"user": "sara"}, 0),
        ({"client_id": "job-7"}, 1),
        ({"client_id": "job"}, 0),
        ({"endpoint": "messages"}, 1),
        ({"endpoint": "messages", "user": "ali", "client_id": "job-7"}, 1),
        ({"endpoint": "chat", "user": "ali"}, 0),
        ({}, 2),
    ],
)
def test_the_log_is_searched_by_end_user_endpoint_and_the_clients_id(
    page: Client, user: User, query: dict[str, str], found: int
) -> None:
    made_for(user, "ali", endpoint="messages", client_request_id="job-7")
    record(user, timezone.now())
    made_for(UserFactory.create(), "ali", endpoint="messages", client_request_id="job-7")
    assert len(rows(shown(page, "proxy:log", query), "log")) == found


def test_a_request_tells_its_end_user_and_the_clients_id(page: Client, user: User) -> None:
    made = made_for(user, "<b>ali", client_request_id="<i>7")
    text: str = page.get(reverse("proxy:request", args=[made.id.hex])).text
    assert "&lt;b&gt;ali" in text
    assert "&lt;i&gt;7" in text


def test_the_file_of_end_users_is_exact(page: Client, user: User) -> None:
    made_for(user, "=ali")
    made_for(user, "=ali", outcome="refused", billed_by="nothing", cost_micro=0)
    period = periods.preset("7d", now=timezone.now())
    chunks = end_users_csv.chunks({"user_id": user.pk, "period": period}, header=["a header"])
    assert b"".join(chunks).decode().removeprefix("\ufeff").split("\r\n") == [
        '"a header"',
        '"\'=ali","2","1","20","0","10","0.003","30000"',
        "",
    ]
    assert page.get(reverse("proxy:end_users_csv"), {"period": "7d"})["Content-Type"].startswith("text/csv")
