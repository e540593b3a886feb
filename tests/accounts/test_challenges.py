"""Limits, tries and consumption, with the clock passed in."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts import challenges, codes
from accounts.models import Challenge
from tests.accounts.people import NOW, new_address, new_mobile


def issue(mobile: str, *, seconds: int = 0, address: str | None = None) -> challenges.Issued:
    return challenges.issue(
        mobile=mobile, address=address or new_address(), now=NOW + timedelta(seconds=seconds)
    )


def try_code(
    issued: challenges.Issued, *, seconds: int = 1, browser_secret: str | None = None
) -> challenges.Try:
    return challenges.count_try(
        challenge_id=issued.id,
        browser_secret=browser_secret or issued.browser_secret,
        now=NOW + timedelta(seconds=seconds),
    )


def in_threads(count: int, work: Any) -> list[Any]:
    """Calls `work` from `count` threads at once; returns what each gave or raised."""
    barrier = threading.Barrier(count)

    def one(_: Any) -> Any:
        try:
            barrier.wait()
            return work()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.django_db
def test_the_code_is_not_in_the_row() -> None:
    issued = issue(new_mobile())
    row = Challenge.objects.filter(id=issued.id).values().get()
    assert issued.code not in str(row)
    assert issued.browser_secret not in str(row)
    assert len(row["digest"]) == 32


@pytest.mark.django_db
def test_codes_in_a_row_wait_longer_each_time() -> None:
    mobile = new_mobile()
    issue(mobile)
    for sent_at, wait in ((0, 60), (60, 120), (180, 300), (480, 300)):
        with pytest.raises(challenges.TooSoon) as refused:
            issue(mobile, seconds=sent_at + 1)
        assert refused.value.wait_seconds == wait - 1
        with pytest.raises(challenges.TooSoon):
            issue(mobile, seconds=sent_at + wait - 1)
        issue(mobile, seconds=sent_at + wait)


@pytest.mark.django_db
def test_the_announced_time_to_the_next_code_is_true() -> None:
    mobile = new_mobile()
    issued = issue(mobile)
    again = challenges.issue(mobile=mobile, address=new_address(), now=issued.resend_at)
    assert again.resend_at - again.expires_at == timedelta(0)


@pytest.mark.django_db
def test_five_codes_an_hour_and_then_none() -> None:
    mobile = new_mobile()
    for seconds in (0, 60, 180, 480, 780):
        issue(mobile, seconds=seconds)
    with pytest.raises(challenges.TooMany) as refused:
        issue(mobile, seconds=3000)
    assert refused.value.wait_seconds == 600
    issue(mobile, seconds=3600)


@pytest.mark.django_db
def test_ten_codes_a_day_and_then_none() -> None:
    mobile = new_mobile()
    for hour in range(10):
        issue(mobile, seconds=hour * 3600)
    with pytest.raises(challenges.TooMany) as refused:
        issue(mobile, seconds=11 * 3600)
    assert refused.value.wait_seconds == 13 * 3600
    issue(mobile, seconds=24 * 3600)


@pytest.mark.django_db
def test_an_answered_code_ends_the_row_of_waits() -> None:
    mobile = new_mobile()
    issued = issue(mobile)
    challenges.consume(challenge_id=issued.id, now=NOW + timedelta(seconds=5))
    issue(mobile, seconds=10)


@pytest.mark.django_db
def test_an_address_has_its_own_limit(settings: Any) -> None:
    settings.CODES_PER_ADDRESS_HOUR = 3
    address = new_address()
    for seconds in range(3):
        issue(new_mobile(), seconds=seconds, address=address)
    with pytest.raises(challenges.TooMany) as refused:
        issue(new_mobile(), seconds=10, address=address)
    assert refused.value.wait_seconds == 3590
    issue(new_mobile(), seconds=10)
    issue(new_mobile(), seconds=3600, address=address)


@pytest.mark.django_db
def test_all_numbers_together_have_a_budget(settings: Any) -> None:
    Challenge.objects.all().delete()
    settings.CODES_PER_HOUR = 4
    for seconds in range(4):
        issue(new_mobile(), seconds=seconds)
    with pytest.raises(challenges.OverBudget) as refused:
        issue(new_mobile(), seconds=100)
    assert refused.value.wait_seconds == 3500


@pytest.mark.django_db
def test_a_new_code_voids_the_old() -> None:
    mobile = new_mobile()
    old = issue(mobile)
    new = issue(mobile, seconds=60)
    with pytest.raises(challenges.NotValid):
        try_code(old, seconds=61)
    assert try_code(new, seconds=61).mobile == mobile


@pytest.mark.django_db
def test_a_code_expires_after_two_minutes() -> None:
    issued = issue(new_mobile())
    try_code(issued, seconds=119)
    with pytest.raises(challenges.NotValid):
        try_code(issued, seconds=120)
    with pytest.raises(challenges.NotValid):
        challenges.consume(challenge_id=issued.id, now=NOW + timedelta(seconds=120))


@pytest.mark.django_db
def test_another_browser_cannot_even_try() -> None:
    issued = issue(new_mobile())
    with pytest.raises(challenges.NotValid):
        try_code(issued, browser_secret=codes.new_browser_secret())
    assert Challenge.objects.get(id=issued.id).tries == 0


@pytest.mark.django_db
def test_the_sixth_try_is_refused() -> None:
    issued = issue(new_mobile())
    assert [try_code(issued).tries_remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    with pytest.raises(challenges.NotValid):
        try_code(issued)


@pytest.mark.django_db
def test_the_database_refuses_a_sixth_try() -> None:
    issued = issue(new_mobile())
    with pytest.raises(IntegrityError, match="challenge_five_tries"), transaction.atomic():
        Challenge.objects.filter(id=issued.id).update(tries=6)


@pytest.mark.usefixtures("committed_db")
def test_guesses_in_parallel_have_five_tries_together() -> None:
    issued = issue(new_mobile())
    results = in_threads(12, lambda: try_code(issued))
    assert sorted(result.tries_remaining for result in results if isinstance(result, challenges.Try)) == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert sum(isinstance(result, challenges.NotValid) for result in results) == 7


@pytest.mark.usefixtures("committed_db")
def test_of_several_right_answers_at_once_one_counts() -> None:
    issued = issue(new_mobile())
    results = in_threads(
        8, lambda: challenges.consume(challenge_id=issued.id, now=NOW + timedelta(seconds=1))
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, challenges.NotValid) for result in results) == 7


@pytest.mark.usefixtures("committed_db")
def test_of_several_requests_for_one_number_at_once_one_sends() -> None:
    mobile = new_mobile()
    results = in_threads(8, lambda: issue(mobile))
    assert sum(isinstance(result, challenges.Issued) for result in results) == 1
    assert sum(isinstance(result, challenges.TooSoon) for result in results) == 7
    assert Challenge.objects.filter(mobile=mobile).count() == 1


@pytest.mark.usefixtures("committed_db")
def test_an_address_cannot_pass_its_limit_in_parallel(settings: Any) -> None:
    settings.CODES_PER_ADDRESS_HOUR = 2
    address = new_address()
    results = in_threads(6, lambda: issue(new_mobile(), address=address))
    assert sum(isinstance(result, challenges.Issued) for result in results) == 2


@pytest.mark.django_db
def test_old_challenges_are_purged_and_recent_ones_kept() -> None:
    old = issue(new_mobile(), seconds=-3 * 86_400 - 1)  # by whole days, as they are counted
    recent = issue(new_mobile(), seconds=-86_400)
    challenges.purge(now=NOW)
    assert list(Challenge.objects.filter(id__in=[old.id, recent.id]).values_list("id", flat=True)) == [
        recent.id
    ]


# --- what strangers do together -------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("addresses", "elsewhere"),
    [
        (["192.0.2.1", "192.0.2.77", "192.0.2.254"], "192.0.3.1"),
        (["2001:db8:1:1::", "2001:db8:1:2::", "2001:db8:1:ffff::"], "2001:db8:2:1::"),
    ],
)
def test_strangers_of_one_network_are_limited_together(
    settings: Any, monkeypatch: pytest.MonkeyPatch, addresses: list[str], elsewhere: str
) -> None:
    monkeypatch.setattr(challenges, "ADDRESSES_PER_NETWORK", 1)
    settings.CODES_PER_ADDRESS_HOUR = 2
    for address in addresses[:2]:
        issue(new_mobile(), address=address)
    with pytest.raises(challenges.TooManyNearby) as caught:
        issue(new_mobile(), seconds=10, address=addresses[2])
    assert caught.value.wait_seconds == 3590
    challenges.issue(mobile=new_mobile(), address=addresses[2], now=NOW, is_known_browser=True)
    issue(new_mobile(), seconds=10, address=elsewhere)
    issue(new_mobile(), seconds=3600, address=addresses[2])


@pytest.mark.django_db
def test_strangers_for_numbers_in_a_row_are_limited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenges, "PER_PREFIX_HOUR", 2)
    for last in range(2):
        issue(f"+98931555500{last}")
    with pytest.raises(challenges.TooManyNearby):
        issue("+989315555999")
    issue("+989315556000")
    challenges.issue(mobile="+989315555998", address=new_address(), now=NOW, is_known_browser=True)


@pytest.mark.django_db
def test_a_part_of_the_budget_is_kept_for_known_browsers(settings: Any) -> None:
    settings.CODES_PER_HOUR = 10
    for _ in range(7):
        issue(new_mobile())
    with pytest.raises(challenges.OverBudget):
        issue(new_mobile())
    for _ in range(3):
        challenges.issue(mobile=new_mobile(), address=new_address(), now=NOW, is_known_browser=True)
    with pytest.raises(challenges.OverBudget):
        challenges.issue(mobile=new_mobile(), address=new_address(), now=NOW, is_known_browser=True)


@pytest.mark.django_db
def test_while_many_codes_are_wrong_each_is_tried_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenges, "WRONG_CODES_OF_AN_ATTACK", 4)
    right = issue(new_mobile())  # a right one is no wrong one
    try_code(right)
    challenges.consume(challenge_id=right.id, now=NOW)
    guessed, other = issue(new_mobile()), issue(new_mobile())
    assert [try_code(guessed).tries_remaining for _ in range(4)] == [4, 3, 2, 1]
    with pytest.raises(challenges.NotValid):
        try_code(guessed)
    tries = [try_code(other) for _ in range(3)]
    assert [(each.tries_remaining, each.max_tries) for each in tries] == [(2, 3), (1, 3), (0, 3)]
    with pytest.raises(challenges.NotValid):
        try_code(other)
    later = issue(new_mobile(), seconds=601)
    assert try_code(later, seconds=602).max_tries == 5
