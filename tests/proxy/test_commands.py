"""The operators' commands: what they answer, what they make, and what they say to bad input."""

import io
import json
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.utils import OperationalError
from django.utils import timezone

from accounts.models import Tier, User
from keys import lifecycle
from keys.models import APIKey
from keys.secret import has_valid_checksum
from proxy.catalogue import served as catalogue
from proxy.catalogue import starter
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.prices import price_quote
from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.price_quote import ImagePrice, PriceQuote
from proxy.catalogue.quirks import QUIRKS
from proxy.catalogue.starter import SANDBOX_MODELS
from proxy.sandbox import demo
from proxy.sandbox.request import MODELS
from tests.factories import UserFactory, WalletFactory
from tests.proxy.factories import RouteFactory, UpstreamFactory, UsageRecordFactory

pytestmark = pytest.mark.django_db
TOMAN = 10_000_000
MOBILE, LOCAL = "+989351112233", "09351112233"
MODEL = ["--upstream-url", "https://93.184.215.14/v1", "--upstream-key", "sk-1"]
PRICED = [*MODEL, "--input-toman-per-million", "30000", "--output-toman-per-million", "180000"]


def answer(*command: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command(*command, "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def text(*command: str) -> str:
    out = io.StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


# --- issue_key -------------------------------------------------------------------------------------------------


def test_issue_key_makes_an_account_with_credit_tier_and_a_working_key() -> None:
    before = answer("issue_key", "--mobile", "09351112244")["available_micro"]
    issued = answer(
        "issue_key", "--mobile", LOCAL, "--credit-toman", "5000", "--tier", "Standard", "--name", "ci"
    )
    assert issued.keys() == {"key", "mobile", "tier", "available_micro"}
    assert has_valid_checksum(issued["key"])
    assert (issued["mobile"], issued["tier"]) == (MOBILE, "Standard")
    assert issued["available_micro"] == before + 5_000 * TOMAN  # beside the sign-up credit
    user = User.objects.get(mobile=MOBILE)
    assert user.tier.name == "Standard"
    assert APIKey.objects.get(user=user).name == "ci"


def test_issue_key_gives_an_existing_account_one_more_key() -> None:
    first = answer("issue_key", "--mobile", LOCAL)
    second = answer("issue_key", "--mobile", "۰۹۳۵ ۱۱۱ ۲۲۳۳", "--credit-toman", "1,000")
    assert second["available_micro"] == first["available_micro"] + 1_000 * TOMAN
    assert second["tier"] == first["tier"]
    assert APIKey.objects.filter(user__mobile=MOBILE).count() == 2


def test_issue_key_tells_people_the_same() -> None:
    shown = text("issue_key", "--mobile", LOCAL)
    assert "hm-" in shown
    assert "Toman available" in shown


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--mobile", "12345"], "not an Iranian mobile number"),
        (["--tier", "Platinum"], "no tier named Platinum"),
        (["--credit-toman", "-5"], "--credit-toman must be a whole number"),
        (["--credit-toman", "1.5"], "--credit-toman must be a whole number"),
        (["--credit-toman", "99999999999999"], "The credit must be"),
        (["--name", " "], "--name"),
        (["--name", "n" * 81], "--name"),
    ],
)
def test_issue_key_says_what_is_wrong_and_makes_nothing(wrong: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("issue_key", "--mobile", LOCAL, *wrong)
    assert not User.objects.filter(mobile=MOBILE).exists()


def test_issue_key_gives_no_credit_where_it_makes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = answer("issue_key", "--mobile", LOCAL)["available_micro"]
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 1)
    with pytest.raises(CommandError, match="revoke one first"):
        call_command("issue_key", "--mobile", LOCAL, "--credit-toman", "5", "--tier", "Standard")
    assert answer("wallet_report", "--mobile", LOCAL)["available_micro"] == before
    assert User.objects.get(mobile=MOBILE).tier.is_default


def test_an_argument_that_is_no_text_is_refused() -> None:
    with pytest.raises(CommandError, match="not valid UTF-8"):
        call_command("issue_key", "--mobile", LOCAL, "--name", "\udcff")


# --- set_tier ---------------------------------------------------------------------------------------------------


def test_set_tier_makes_a_tier_and_changes_it() -> None:
    made = answer("set_tier", "Gold", "--rpm", "600", "--tpm", "2000000", "--concurrency", "20")
    assert made == {"tier": "Gold", "rpm": 600, "tpm": 2_000_000, "concurrency": 20, "rpd": None, "tpd": None}
    changed = answer("set_tier", "Gold", "--rpm", "700", "--tpm", "1", "--rpd", "5000")
    assert (changed["concurrency"], changed["rpd"], changed["tpd"]) == (20, 5_000, None)
    assert Tier.objects.get(name="Gold").rpm == 700
    assert "Gold changed" in text("set_tier", "Gold", "--rpm", "1", "--tpm", "1")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["T", "--rpm", "0", "--tpm", "1"], "--rpm must be"),
        (["T", "--rpm", "many", "--tpm", "1"], "--rpm must be"),
        (["T", "--rpm", "1", "--tpm", "1", "--concurrency", "0"], "--concurrency must be"),
        (["T", "--rpm", "99999999999", "--tpm", "1"], "rpm"),
        (["", "--rpm", "1", "--tpm", "1"], "name"),
        (["t" * 41, "--rpm", "1", "--tpm", "1"], "name"),
    ],
)
def test_set_tier_says_what_is_wrong(given: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("set_tier", *given)


# --- add_model --------------------------------------------------------------------------------------------------


def test_add_model_puts_a_model_on_sale_in_toman() -> None:
    model_id = f"m-{uuid.uuid4().hex}"
    offer = answer("add_model", model_id, *PRICED, "--upstream-model", "there", "--on-disconnect", "drain")
    served = catalogue.load(timezone.now())[model_id]
    assert served.price == PriceQuote(300_000, 1_800_000)
    assert (offer["model"], offer["upstream_model"], offer["on_disconnect"]) == (model_id, "there", "drain")
    assert "sk-1" not in json.dumps(offer)
    assert f"{model_id} is on sale" in text("add_model", model_id, *PRICED)


def test_add_model_asks_before_a_price_far_off_the_last_one_or_of_nothing() -> None:
    model = f"m-{uuid.uuid4().hex}"
    given = ["--upstream-url", "https://93.184.215.14/v1", "--upstream-key", "sk-1"]

    def priced(toman_in: int, toman_out: int, *flags: str) -> None:
        prices = [f"--input-toman-per-million={toman_in}", f"--output-toman-per-million={toman_out}"]
        call_command("add_model", model, *given, *prices, *flags, "--json")

    with pytest.raises(CommandError, match=r"charged for output.*--free"):
        priced(100, 0)
    priced(100, 400)
    with pytest.raises(
        CommandError, match=r"input was 1,000 Rial \(100 Toman\) and would be 100 Rial \(10 Toman\)"
    ):
        priced(10, 400)
    with pytest.raises(CommandError, match="--confirm-price-jump"):
        priced(10, 400, "--free")
    priced(10, 400, "--confirm-price-jump")
    priced(0, 0, "--free")
    with pytest.raises(CommandError, match="--confirm-price-jump"):
        priced(10, 10)  # from nothing to something
    stored = Price.objects.filter(model__model_id=model).order_by("id")
    assert list(stored.values_list("input_rial_per_million", flat=True)) == [1_000, 100, 0]


def test_add_model_takes_a_whole_price_list() -> None:
    model = f"m-{uuid.uuid4().hex}"
    given = [
        "input=30,000", "output=180000", "cached_input=7500.5", "cache_write_1h=۶۰٬۰۰۰", "reasoning=90000",
        "input=60,000@200,000", "output=270000@200000", "cached_input=15000@200000", "request=50", "image=4000",
        "image:1024x1024:hd=9000", "image::hd=8000",
    ]  # fmt: skip
    prices = [flag for price in given for flag in ("--price", price)]
    offer = answer("add_model", model, *MODEL, *prices)
    stored = catalogue.load(timezone.now())[model].price
    assert stored == PriceQuote(
        300_000,
        1_800_000,
        75_005,
        further={"cache_write_1h": 600_000, "reasoning": 900_000, "request": 500, "image": 40_000},
        tiers=(price_quote.Tier(200_000, {"input": 600_000, "output": 2_700_000, "cached_input": 150_000}),),
        images=(ImagePrice(90_000, "1024x1024", "hd"), ImagePrice(80_000, "", "hd")),
    )
    assert offer["further"]["tiers"][0]["above_tokens"] == 200_000
    said = text("add_model", model, *MODEL, *prices)
    assert "input above 200,000 tokens 60,000 Toman (600,000 Rial)" in said
    assert Price.objects.filter(model__model_id=model).count() == 1  # the same list is no new one


def test_add_model_keeps_what_a_list_has_beyond_two_prices_that_stay_and_asks_where_they_change() -> None:
    model = f"m-{uuid.uuid4().hex}"
    call_command(
        "add_model", model, *MODEL, "--price=input=100", "--price=output=400", "--price=reasoning=300"
    )
    two = [f"--{name}-toman-per-million" for name in ("input", "output")]
    call_command("add_model", model, *MODEL, two[0], "100", two[1], "400")
    with pytest.raises(CommandError, match=r"more prices than input and output.*--price"):
        call_command("add_model", model, *MODEL, two[0], "100", two[1], "401")
    assert catalogue.load(timezone.now())[model].price == PriceQuote(
        1_000, 4_000, further={"reasoning": 3_000}
    )
    call_command("add_model", model, *MODEL, two[0], "100", "--price=output=401")  # flags and prices together
    assert catalogue.load(timezone.now())[model].price == PriceQuote(1_000, 4_010)


def test_add_model_asks_of_every_price_of_a_list() -> None:
    model = f"m-{uuid.uuid4().hex}"
    with pytest.raises(CommandError, match=r"charged for output.*--free"):
        call_command("add_model", model, *MODEL, "--price=input=100")
    call_command("add_model", model, *MODEL, "--price=input=100", "--price=output=400", "--price=page=9")
    with pytest.raises(
        CommandError, match=r"input above 5 tokens was .* and would be .*--confirm-price-jump"
    ):
        call_command(
            "add_model", model, *MODEL, "--price=input=100", "--price=output=400", "--price=page=9",
            "--price=input=5000@5",
        )  # fmt: skip
    with pytest.raises(CommandError, match=r"charged for page\..*--free"):
        call_command("add_model", model, *MODEL, "--price=input=100", "--price=output=400")
    assert Price.objects.filter(model__model_id=model).count() == 1


@pytest.mark.parametrize(
    ("prices", "sentence"),
    [
        (["input"], "must be COMPONENT=TOMAN"),
        (["water=5"], "no component 'water'"),
        (["input=-5"], "amount of Toman .*'-5'"),
        (["input=cheap"], "amount of Toman .*'cheap'"),
        (["input=1.25"], "amount of Toman"),
        (["input="], "amount of Toman"),
        (["input=99999999999999999999"], "must be 0 to 1,000,000,000 Rial per million for input"),
        (["input=5", "output=5", "page=1000001"], "must be 0 to 10,000,000 Rial for page"),
        (["output=5"], "needs a price of input"),
        (["input=5", "input=6", "output=5"], "given twice"),
        (["input=5", "output=5", "input=6@100", "input=7@100"], "above the one before it"),
        (["input=5", "output=5", "input=6@200", "input=7@100"], "above the one before it"),
        (["input=5", "output=5", "input=6@0"], "a tier begins above"),
        (["input=5", "output=5", "input=6@-7"], "a tier begins above"),
        (["input=5", "output=5", "input=6@"], "a tier begins above"),
        (["input=5", "output=5", "input=6@99999999999999999999"], "a tier begins above"),
        (["input:1024x1024=5", "output=5"], "only image has prices by size"),
        (["input=5", "output=5", "image:s=5@7"], "one price for all tiers"),
        (["input=5", "output=5", "image:s=5", "image:s=6"], "two prices for images"),
    ],
)
def test_add_model_says_what_is_wrong_with_a_price_and_makes_nothing(
    prices: list[str], sentence: str
) -> None:
    before = (LanguageModel.objects.count(), Upstream.objects.count(), Price.objects.count())
    given = [f"--price={price}" for price in prices]
    with pytest.raises(CommandError, match=sentence):
        call_command("add_model", "m", *MODEL, *given)
    assert (LanguageModel.objects.count(), Upstream.objects.count(), Price.objects.count()) == before


def test_add_model_takes_the_upstreams_kind() -> None:
    offer = answer("add_model", f"m-{uuid.uuid4().hex}", *PRICED, "--kind", "gemini")
    assert (offer["kind"], offer["on_disconnect"]) == ("gemini", "drain")


def test_add_model_says_where_a_model_is_served_and_what_its_upstream_speaks() -> None:
    model = f"m-{uuid.uuid4().hex}"

    def offered(*flags: str) -> tuple[Any, Any]:
        offer = answer("add_model", model, *PRICED, *flags)
        served = catalogue.load(timezone.now())[model]
        assert served.endpoints == set(offer["endpoints"])
        assert served.routes[0].protocols == set(offer["protocols"])
        return offer["endpoints"], offer["protocols"]

    assert offered() == (["chat", "responses", "messages"], ["chat"])
    assert offered("--protocols", "messages, chat") == (
        ["chat", "responses", "messages"],
        ["chat", "messages"],
    )
    assert offered("--endpoints", "messages") == (["messages"], ["chat", "messages"])  # the other stays
    model = f"m-{uuid.uuid4().hex}"
    assert offered("--protocols", "embeddings") == (["embeddings"], ["embeddings"])  # all that it can serve


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["m", *PRICED, "--upstream-url", "http://93.184.215.14/v1"], "https"),
        (["m", *PRICED, "--upstream-url", "https://10.0.0.1/v1"], "private"),
        (["m", *PRICED, "--input-toman-per-million", "-1"], "--input-toman-per-million must be"),
        (["m", *PRICED, "--output-toman-per-million", "999999999999"], "A price must be"),
        (["m", *PRICED, "--max-output-tokens", "0"], "--max-output-tokens must be"),
        (["m", *PRICED, "--context-tokens", "99999999999"], "context_tokens"),
        (["m", *PRICED, "--on-disconnect", "stay"], "cancel or drain"),
        (["m", *PRICED, "--endpoints", "chat,video"], "--endpoints must be some of chat, .*not 'video'"),
        (["m", *PRICED, "--protocols", "gemini"], "--protocols must be some of chat, .*not 'gemini'"),
        (
            ["m", *PRICED, "--endpoints", "chat,messages", "--protocols", "messages"],
            "No route of m can serve chat: chat needs chat",
        ),
        (["m", *PRICED, "--kind", "claude"], "openai, gemini or llamacpp"),
        (["m", *PRICED, "--upstream-model", "x" * 121], "upstream_model"),
        (["", *PRICED], "model_id"),
    ],
)
def test_add_model_says_what_is_wrong_and_makes_nothing(given: list[str], sentence: str) -> None:
    before = (LanguageModel.objects.count(), Upstream.objects.count(), Price.objects.count())
    with pytest.raises(CommandError, match=sentence):
        call_command("add_model", *given)
    assert (LanguageModel.objects.count(), Upstream.objects.count(), Price.objects.count()) == before


# --- wallet_report ----------------------------------------------------------------------------------------------


def test_wallet_report_counts_one_account_alone() -> None:
    wallet = WalletFactory.create(credit_micro=50 * TOMAN)
    UsageRecordFactory.create(user_id=wallet.pk, prompt_tokens=3, completion_tokens=2)
    UsageRecordFactory.create(user_id=wallet.pk, prompt_tokens=1, completion_tokens=0)
    UsageRecordFactory.create(user_id=wallet.pk + 1)
    assert answer("wallet_report", "--mobile", wallet.user.mobile) == {
        "posted_micro": 50 * TOMAN,
        "held_micro": 0,
        "available_micro": 50 * TOMAN,
        "open_holds": 0,
        "journal_entries": 1,
        "usage_records": 2,
        "usage_cost_micro": 4 * 1_000 + 2 * 4_000,
    }
    assert "50 Toman" in text("wallet_report", "--mobile", wallet.user.mobile)


def test_wallet_report_of_nobody_says_so() -> None:
    with pytest.raises(CommandError, match="No account has the number"):
        call_command("wallet_report", "--mobile", LOCAL)


# --- a database that is away or empty --------------------------------------------------------------------------------


def test_a_database_that_is_away_is_a_sentence_and_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_kwargs: Any) -> Any:
        raise OperationalError("connection to server failed: No such file\nIs the server running?")

    monkeypatch.setattr(connection, "cursor", away)
    with pytest.raises(CommandError, match=r"PostgreSQL does not answer: .* No such file\. Start .*make run"):
        call_command("wallet_report", "--mobile", LOCAL)


def test_a_database_without_tables_is_a_sentence_too() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_user RENAME TO accounts_user_elsewhere")
    with pytest.raises(CommandError, match="not up to date"):
        call_command("wallet_report", "--mobile", LOCAL)


# --- load_catalogue -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_catalogue() -> None:
    Route.objects.all().delete()
    Upstream.objects.all().delete()
    assert not LanguageModel.objects.filter(model_id=starter.MODEL_ID).exists()


def served() -> catalogue.ServedModel:
    return catalogue.load(timezone.now())[starter.MODEL_ID]


def test_load_catalogue_puts_the_contracts_model_on_sale_in_the_sandbox(
    no_catalogue: None, settings: Any
) -> None:
    settings.PORT = 8123
    assert answer("load_catalogue") == {"model": starter.MODEL_ID, "upstream": "sandbox"}
    assert served().description == "Fast and affordable model for most tasks"
    assert (served().context_tokens, served().max_output_tokens) == (128_000, 8_192)
    assert served().price == PriceQuote(300_000, 1_800_000, 75_000)
    assert served().routes[0].base_url == "http://127.0.0.1:8123/sandbox/upstream/v1"
    assert served().routes[0].api_key == "sandbox"


def test_load_catalogue_again_follows_the_port_and_changes_nothing_else(
    no_catalogue: None, settings: Any
) -> None:
    call_command("load_catalogue", "--json")
    model = LanguageModel.objects.get(model_id=starter.MODEL_ID)
    LanguageModel.objects.filter(pk=model.pk).update(description="ours", max_output_tokens=5)
    Price.objects.create(model=model, input_rial_per_million=1, output_rial_per_million=2)
    Upstream.objects.update(on_disconnect="drain")
    Route.objects.update(priority=7)
    settings.PORT = 9001
    call_command("load_catalogue", "--json")
    assert served().routes[0].base_url == "http://127.0.0.1:9001/sandbox/upstream/v1"
    assert (served().description, served().max_output_tokens) == ("ours", 5)
    assert served().price == PriceQuote(1, 2)
    assert served().routes[0].on_disconnect == "drain"
    assert Route.objects.get(model=model).priority == 7


def test_load_catalogue_follows_the_upstream_of_the_settings_there_and_back(
    no_catalogue: None, settings: Any
) -> None:
    call_command("load_catalogue", "--json")
    settings.UPSTREAM_BASE_URL, settings.UPSTREAM_API_KEY = "https://93.184.215.14/v1/", "sk-1"
    assert answer("load_catalogue")["upstream"] == "primary"
    assert (served().routes[0].base_url, served().routes[0].api_key) == ("https://93.184.215.14/v1", "sk-1")
    settings.UPSTREAM_API_KEY = "sk-2"
    call_command("load_catalogue", "--json")
    assert served().routes[0].api_key == "sk-2"
    settings.UPSTREAM_BASE_URL = ""
    call_command("load_catalogue", "--json")
    assert served().routes[0].upstream_name == "sandbox"
    assert Route.objects.filter(model__model_id=starter.MODEL_ID).count() == 1


def test_load_catalogue_keeps_the_name_that_an_admin_gave_the_model_upstream(
    no_catalogue: None, settings: Any
) -> None:
    settings.UPSTREAM_BASE_URL, settings.UPSTREAM_API_KEY = "https://93.184.215.14/v1", "sk-1"
    call_command("load_catalogue", "--json")
    Route.objects.update(upstream_model="models/other")
    call_command("load_catalogue", "--json")
    assert served().routes[0].upstream_model == "models/other"


def test_load_catalogue_knows_gemini_by_its_host_and_leaves_later_choices_alone(
    no_catalogue: None, settings: Any
) -> None:
    # Spares the look-up of its address.
    settings.UPSTREAM_ALLOWED_HOSTS = ["generativelanguage.googleapis.com"]
    settings.UPSTREAM_BASE_URL = "https://generativelanguage.googleapis.com/v1beta/openai/"
    call_command("load_catalogue", "--json")
    assert served().routes[0].quirks == QUIRKS["gemini"]
    assert served().routes[0].on_disconnect == "drain"
    Upstream.objects.update(kind="openai", on_disconnect="cancel")
    settings.UPSTREAM_API_KEY = "sk-3"
    call_command("load_catalogue", "--json")
    assert served().routes[0].quirks == QUIRKS["openai"]
    assert served().routes[0].on_disconnect == "cancel"
    settings.UPSTREAM_BASE_URL = "https://93.184.215.14/v1"
    call_command("load_catalogue", "--json")
    assert served().routes[0].quirks == QUIRKS["openai"]


def test_load_catalogue_leaves_the_routes_of_admins_alone(no_catalogue: None) -> None:
    call_command("load_catalogue", "--json")
    model = LanguageModel.objects.get(model_id=starter.MODEL_ID)
    Route.objects.all().delete()
    own = RouteFactory.create(model=model, upstream=UpstreamFactory.create())
    call_command("load_catalogue", "--json")
    assert list(Route.objects.filter(model=model)) == [own]


def test_load_catalogue_refuses_an_upstream_that_must_not_be_called(
    no_catalogue: None, settings: Any
) -> None:
    settings.UPSTREAM_BASE_URL = "https://10.0.0.1/v1"
    with pytest.raises(CommandError, match=r"UPSTREAM_BASE_URL: .*private"):
        call_command("load_catalogue")


def test_load_catalogue_puts_a_model_of_each_other_endpoint_on_sale_in_the_sandbox_alone(
    no_catalogue: None, settings: Any
) -> None:
    def sold() -> dict[str, list[str]]:
        every = catalogue.load(timezone.now()).values()
        return {each.model_id: sorted(each.endpoints) for each in every if each.model_id in SANDBOX_MODELS}

    call_command("load_catalogue", "--json")
    assert sold() == {name: [each.endpoint] for name, each in SANDBOX_MODELS.items()}
    Price.objects.create(
        model=LanguageModel.objects.get(model_id="hamiran-embedding"),
        input_rial_per_million=1,
        output_rial_per_million=2,
    )
    settings.UPSTREAM_BASE_URL = "https://93.184.215.14/v1"
    call_command("load_catalogue", "--json")
    assert sold() == {}
    settings.UPSTREAM_BASE_URL = ""
    call_command("load_catalogue", "--json")
    assert sold().keys() == SANDBOX_MODELS.keys()
    assert catalogue.load(timezone.now())["hamiran-embedding"].price == PriceQuote(1, 2)


def test_the_sandbox_sells_what_its_upstream_answers() -> None:
    answered = {name: endpoint for name, endpoint in MODELS.items() if name != starter.MODEL_ID}
    assert {name: each.endpoint for name, each in SANDBOX_MODELS.items()} == answered


def test_load_catalogue_makes_no_sandbox_upstream_in_production(no_catalogue: None, settings: Any) -> None:
    settings.SANDBOX = False
    assert answer("load_catalogue") == {"model": starter.MODEL_ID, "upstream": None}
    assert not Upstream.objects.exists()


# --- demo_key ---------------------------------------------------------------------------------------------------


@pytest.fixture
def var_dir(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demo, "MOBILE", MOBILE)  # the factories' numbers begin at the real one
    settings.VAR_DIR = tmp_path
    return tmp_path


def test_the_demo_key_survives_a_restart_and_its_credit_is_given_once(var_dir: Path) -> None:
    shown = answer("demo_key")
    assert shown["mobile"] == MOBILE
    assert answer("demo_key") == shown
    path = var_dir / "secrets" / "demo_key"
    assert path.read_text() == shown["key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sign_up = User.objects.get(mobile=MOBILE).tier.sign_up_credit_micro
    assert answer("wallet_report", "--mobile", MOBILE)["posted_micro"] == sign_up + 100_000 * TOMAN


@pytest.mark.parametrize("lost", ["revoked", "file gone", "file broken"])
def test_the_demo_key_is_made_anew_where_it_no_longer_works(var_dir: Path, lost: str) -> None:
    shown = answer("demo_key")
    path = var_dir / "secrets" / "demo_key"
    if lost == "revoked":
        APIKey.objects.filter(user__mobile=MOBILE).update(revoked_at=timezone.now())
    elif lost == "file gone":
        path.unlink()
    else:
        path.write_text("hm-زمین")
    again = answer("demo_key")
    assert again["key"] != shown["key"]
    assert answer("demo_key") == again


def test_a_key_of_somebody_else_in_the_file_is_no_demo_key(var_dir: Path) -> None:
    other = lifecycle.create(user_id=UserFactory.create().pk, name="other").secret
    (var_dir / "secrets").mkdir()
    (var_dir / "secrets" / "demo_key").write_text(other)
    assert answer("demo_key")["key"] != other


def test_there_is_no_demo_key_in_production(settings: Any, var_dir: Path) -> None:
    settings.SANDBOX = False
    with pytest.raises(CommandError, match="HAMIRAN_MODE=sandbox"):
        call_command("demo_key")
    assert not User.objects.filter(mobile=MOBILE).exists()
