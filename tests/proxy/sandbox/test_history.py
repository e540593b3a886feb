"""`manage.py seed_demo`: an account with a past, in a database of its own, through the ledger's own functions."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from psycopg.rows import dict_row

from proxy.catalogue import starter
from tests.own_database import OwnDatabase, own_database
from wallet.payments.models import GatewayChoice

pytestmark = pytest.mark.proof

FIRST, SECOND = "+989120000011", "+989120000012"
DAYS = 8


class Seeded:
    """A database with two accounts of the same seed, and what the command said of each."""

    def __init__(self, own: OwnDatabase) -> None:
        self.own = own
        self.own.manage("migrate", "--verbosity", "0")
        self.first, self.second = (self.seed(mobile) for mobile in (FIRST, SECOND))

    def seed(self, mobile: str) -> dict[str, Any]:
        said = self.own.manage("seed_demo", "--mobile", mobile, "--days", str(DAYS), "--json")
        answer: dict[str, Any] = json.loads(said)
        return answer

    def rows(self, query: str, mobile: str) -> list[dict[str, Any]]:
        """What a query with `%(user)s` in it answers of the account of this number."""
        with psycopg.connect(self.own.url, row_factory=dict_row) as session:
            [user] = session.execute("SELECT id FROM accounts_user WHERE mobile = %s", [mobile]).fetchall()
            return session.execute(query, {"user": user["id"]}).fetchall()


@pytest.fixture(scope="module")
def seeded(django_db_setup: None) -> Iterator[Seeded]:
    with own_database() as own:
        yield Seeded(own)


def test_the_books_balance_after_it(seeded: Seeded) -> None:
    said = json.loads(seeded.own.manage("check_ledger", "--json"))
    assert (said["ok"], said["broken"], said["warnings"]) == (True, [], [])


def test_all_of_it_lies_in_the_past_that_was_asked_for(seeded: Seeded) -> None:
    [moments] = seeded.rows(
        """
        SELECT min(j.created_at) AS first, max(j.created_at) < now() AS is_past,
            count(DISTINCT j.created_at::date) AS days,
            bool_and(j.created_at = coalesce(u.created_at, j.created_at)) AS agree,
            (SELECT opened_at FROM wallet_wallet WHERE user_id = %(user)s) AS opened_at,
            (SELECT min(created_at) FROM keys_apikey WHERE user_id = %(user)s) AS key_made_at,
            (SELECT min(issued_at) FROM wallet_invoice i JOIN wallet_topup t ON t.id = i.topup_id
             WHERE t.user_id = %(user)s) AS invoiced_at
        FROM wallet_journalentry j LEFT JOIN proxy_usagerecord u ON u.id = j.transaction_id
        WHERE j.wallet_id = %(user)s
        """,
        FIRST,
    )
    since = datetime.fromisoformat(seeded.first["since"])
    assert (timezone.localdate() - since.date()).days in (DAYS, DAYS + 1)  # it may be midnight since
    assert {moments[name] for name in ("first", "opened_at", "key_made_at", "invoiced_at")} == {since}
    assert moments["is_past"]
    assert moments["agree"]
    assert moments["days"] >= DAYS


def test_it_has_paid_failed_and_used_as_a_customer_does(seeded: Seeded) -> None:
    [counted] = seeded.rows(
        """
        SELECT array_agg(DISTINCT outcome) AS outcomes, count(*) AS requests, count(DISTINCT key_id) AS keys,
            (SELECT array_agg(DISTINCT kind::text) FROM wallet_journalentry WHERE wallet_id = %(user)s) AS kinds,
            (SELECT array_agg(DISTINCT status::text) FROM wallet_topup WHERE user_id = %(user)s) AS topups,
            (SELECT count(*) FROM keys_apikey WHERE user_id = %(user)s AND last_used_at IS NOT NULL) AS used_keys,
            (SELECT count(*) FROM keys_apikey WHERE user_id = %(user)s AND revoked_at IS NOT NULL) AS revoked
        FROM proxy_usagerecord WHERE user_id = %(user)s
        """,
        FIRST,
    )
    assert {"completed", "client_left", "upstream_failed"} <= set(counted["outcomes"])
    assert counted["requests"] == seeded.first["requests"] > 10 * DAYS
    assert counted["keys"] == counted["used_keys"] == 3
    assert counted["revoked"] == 1
    assert set(counted["kinds"]) == {"completion", "topup", "sign_up_credit", "operator_credit", "promo"}
    assert set(counted["topups"]) == {"credited", "failed"}


def test_it_has_chatted_with_models_that_chat(seeded: Seeded) -> None:
    used = seeded.rows(
        "SELECT DISTINCT model, endpoint FROM proxy_usagerecord WHERE user_id = %(user)s", FIRST
    )
    assert used == [{"model": starter.MODEL_ID, "endpoint": "chat"}]


def test_its_hours_and_days_are_rolled_up(seeded: Seeded) -> None:
    sums = seeded.rows(
        "SELECT period, sum(requests) AS requests FROM proxy_rollup WHERE user_id = %(user)s GROUP BY period",
        FIRST,
    )
    assert {each["period"]: each["requests"] for each in sums} == {
        "hour": seeded.first["requests"],
        "day": seeded.first["requests"],
    }


def test_the_same_seed_makes_the_same_figures(seeded: Seeded) -> None:
    first, second = (
        seeded.rows(
            """
            SELECT starts_at, model, sum(requests) AS requests, sum(prompt_tokens) AS prompt_tokens,
                sum(completion_tokens) AS completion_tokens, sum(cost_micro) AS cost_micro
            FROM proxy_rollup WHERE user_id = %(user)s AND period = 'day' AND starts_at < now() - interval '1 day'
            GROUP BY starts_at, model ORDER BY starts_at, model
            """,
            mobile,
        )
        for mobile in (FIRST, SECOND)
    )
    assert len(first) >= DAYS - 1
    assert first == second


def test_nothing_is_left_of_the_clock_that_was_set_back(seeded: Seeded) -> None:
    [left] = seeded.rows("SELECT to_regnamespace('demo_clock') AS clock", FIRST)
    assert left["clock"] is None


def test_a_second_run_changes_nothing_and_says_so(seeded: Seeded) -> None:
    before = seeded.own.manage("wallet_report", "--mobile", FIRST, "--json")
    assert seeded.seed(FIRST) == {"mobile": FIRST, "made": False}
    assert seeded.own.manage("wallet_report", "--mobile", FIRST, "--json") == before


@pytest.mark.django_db
def test_it_is_refused_in_production(settings: Any) -> None:
    settings.SANDBOX = False
    with pytest.raises(CommandError, match="belongs in the sandbox"):
        call_command("seed_demo", "--mobile", FIRST)


@pytest.mark.django_db
def test_it_pays_at_no_gateway_but_the_sandbox(settings: Any) -> None:
    settings.ZIBAL_MERCHANT = "zibal"
    GatewayChoice.objects.create(gateway="zibal")
    with pytest.raises(CommandError, match="new payments go elsewhere"):
        call_command("seed_demo", "--mobile", FIRST)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--mobile", "123"], "not an Iranian mobile number"),
        (["--days", "0"], "--days must be a whole number"),
        (["--days", "366"], "--days must be at most 365"),
        (["--seed", "x"], "--seed must be a whole number"),
    ],
)
def test_what_is_no_number_is_refused(wrong: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("seed_demo", *wrong)
