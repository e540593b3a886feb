"""The whole path from outside, on a fresh installation: forms of the pages, operators' commands, the official SDK.

Nothing here imports the application. A database of its own lets `check_ledger` judge every row in it.
"""

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import httpx
import openai
import psycopg
import pytest
from django.conf import settings

from tests.live import ROOT, WebProcess, eventually, web_process

pytestmark = pytest.mark.slow

MODEL = "gemini-3.1-flash-lite-preview"
OTHER_MODELS = [
    "hamiran-completion", "hamiran-embedding", "hamiran-image", "hamiran-moderation", "hamiran-speech",
    "hamiran-transcription",
]  # fmt: skip
MICRO_PER_TOMAN = 10_000_000
INPUT_MICRO, OUTPUT_MICRO = 300_000, 1_800_000  # a token, by the starter catalogue
HELLO: list[Any] = [{"role": "user", "content": "Hello! What can you do for me?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


@dataclass
class Installation:
    web: WebProcess
    env: dict[str, str]

    def manage(self, *arguments: str) -> dict[str, Any]:
        """What an operator's command answers, run as a process of its own beside the server."""
        found: dict[str, Any] = json.loads(_manage(self.env, *arguments, "--json"))
        return found

    def row(self, sql: str, *parameters: Any) -> tuple[Any, ...]:
        with psycopg.connect(self.env["DATABASE_URL"]) as database:
            (row,) = database.execute(sql, parameters).fetchall()
        return tuple(row)

    def sdk(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(api_key=key, base_url=f"{self.web.url}/v1", max_retries=0)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    name = f"end_to_end_{secrets.token_hex(4)}"
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}")
    env = {
        "DATABASE_URL": re.sub(r"/hamiran\?", f"/{name}?", settings.DATABASE_URL),
        "REDIS_URL": settings.REDIS_URL.replace("db=0", "db=1"),  # key numbers begin at 1 here, too
        "HAMIRAN_VAR": str(tmp_path_factory.mktemp("end-to-end")),
    }
    _manage(env, "migrate", "--verbosity", "0")
    _manage(env, "collectstatic", "--noinput", "--verbosity", "0")
    with web_process(env=env) as web:
        made = Installation(web, {**env, "PORT": str(web.port)})
        made.manage("load_catalogue")  # leads to the sandbox upstream of this very process
        key = made.manage("issue_key", "--mobile", "09120000001")["key"]
        with made.sdk(key) as sdk:
            eventually(lambda: [model.id for model in sdk.models.list()] == [MODEL, *OTHER_MODELS])
        yield made


def _manage(env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- a browser without JavaScript ------------------------------------------------------------------------------


class Page(HTMLParser):
    """Of a page: `forms` as (address, hidden fields), `texts` by id, `stats` (big figures) by label, table `rows` by
    column."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        assert response.status_code == 200, response.text
        self.path = response.url.path
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.stats: dict[str, str] = {}
        self.rows: list[dict[str, str]] = []
        self._columns: list[str] = []
        self._cells: list[str] = []
        self._label = ""
        self._reading: list[tuple[str, str, list[str]]] = []  # tag, what it is, what it says so far
        self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((given.get("action") or self.path, {}))
        elif tag == "input" and given["type"] == "hidden":
            self.forms[-1][1][given["name"]] = given.get("value", "")
        elif tag == "table":
            self._columns = []
        elif tag in {"td", "th"}:
            self._reading.append((tag, "cell", []))
        if "narrow-only" in given.get("class", "").split():  # said once more for phones
            self._reading.append((tag, "narrow", []))
            return
        for what in (given.get("id", ""), *given.get("class", "").split()):
            if what in {"sandbox-code", "secret", "stat__label", "stat__value"}:
                self._reading.append((tag, what, []))
                return

    def handle_data(self, data: str) -> None:
        if any(what == "narrow" for _tag, what, _said in self._reading):
            return
        for _tag, _what, said in self._reading:
            said.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            if self._columns:
                self.rows.append(dict(zip(self._columns, self._cells, strict=True)))
            else:
                self._columns = self._cells
            self._cells = []
        elif self._reading and tag == self._reading[-1][0]:
            _tag, what, said = self._reading.pop()
            self._read(what, "".join(said).strip())

    def _read(self, what: str, text: str) -> None:
        if what == "cell":
            self._cells.append(text)
        elif what == "stat__label":
            self._label = text
        elif what == "stat__value":
            self.stats[self._label] = text
        else:
            self.texts[what] = text


class Browser:
    """Keeps cookies, follows redirects and sends forms with the hidden fields that the page put into them."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, follow_redirects=True, timeout=30)

    def open(self, path: str) -> Page:
        return Page(self._http.get(path))

    def send(self, page: Page, address: str, **fields: str) -> Page:
        hidden = next(hidden for action, hidden in page.forms if action == address)
        return Page(self._http.post(address, data={**hidden, **fields}))

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def browser(installation: Installation) -> Iterator[Browser]:
    browser = Browser(installation.web.url)
    yield browser
    browser.close()


def micro(text: str) -> int:
    """`1,234.56 Toman` in micro-Rial."""
    amount, unit = text.split()
    assert unit == "Toman"
    return int(Decimal(amount.replace(",", "")) * MICRO_PER_TOMAN)


# --- what the SDK is told ----------------------------------------------------------------------------------------


@dataclass
class Answer:
    """`usage` and `cost_micro` as anybody can compute them from the answer alone."""

    request_id: UUID
    text: str
    usage: Any

    @property
    def cost_micro(self) -> int:
        return int(self.usage.prompt_tokens * INPUT_MICRO + self.usage.completion_tokens * OUTPUT_MICRO)

    @property
    def told_micro(self) -> int:
        """The cost that the answer itself names."""
        return int(Decimal(str(self.usage.cost_toman)) * MICRO_PER_TOMAN)


def whole(sdk: openai.OpenAI) -> Answer:
    completion = sdk.chat.completions.create(model=MODEL, messages=HELLO)
    assert completion._request_id is not None
    return Answer(UUID(completion._request_id), completion.choices[0].message.content or "", completion.usage)


def streamed(sdk: openai.OpenAI) -> Answer:
    stream = sdk.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    (usage,) = [chunk.usage for chunk in chunks if chunk.usage is not None]
    return Answer(UUID(stream.response.headers["x-request-id"]), text, usage)


# --- the path ------------------------------------------------------------------------------------------------------


def test_a_newcomer_signs_in_pays_calls_and_sees_every_micro_rial_accounted_for(
    installation: Installation, browser: Browser
) -> None:
    page = browser.open("/sign-in/")
    browser.send(page, "/language/", language="en")
    code = browser.send(browser.open("/sign-in/"), "/sign-in/", mobile="0935 123 4567")
    assert re.fullmatch(r"\d{6}", code.texts["sandbox-code"])
    overview = browser.send(code, "/sign-in/code/", code=code.texts["sandbox-code"])
    assert overview.path == "/overview/"

    wallet = browser.open("/wallet/")
    gift_micro = micro(wallet.stats["Available balance"])
    review = browser.open("/wallet/topups/review/?amount=50000")
    payment = browser.send(review, "/wallet/topups/", amount="50000")
    assert payment.path.startswith("/wallet/sandbox/")
    browser.send(payment, payment.path, choice="pay")
    paid_micro = gift_micro + 50_000 * MICRO_PER_TOMAN
    assert micro(browser.open("/wallet/").stats["Available balance"]) == paid_micro

    key = browser.send(browser.open("/keys/create/"), "/keys/create/", name="first").texts["secret"]
    with installation.sdk(key) as sdk:
        answers = [whole(sdk), streamed(sdk)]
    assert answers[0].text == answers[1].text != ""
    assert answers[0].usage == answers[1].usage

    assert [answer.told_micro for answer in answers] == [answer.cost_micro for answer in answers]
    left_micro = paid_micro
    expected_statement: list[tuple[int, int]] = []
    for answer in answers:
        left_micro -= answer.cost_micro
        expected_statement.insert(0, (-answer.cost_micro, left_micro))
        assert installation.row(
            "SELECT u.prompt_tokens, u.completion_tokens, u.cost_micro, u.outcome, u.billed_by,"
            " j.amount_micro, j.balance_micro FROM proxy_usagerecord u"
            " JOIN wallet_journalentry j ON j.transaction_id = u.id AND j.account = 'wallet' WHERE u.id = %s",
            answer.request_id,
        ) == (
            answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.cost_micro, "completed", "usage",
            -answer.cost_micro, left_micro,
        )  # fmt: skip

    # Pages write two decimals of a Toman; a token of this model costs whole hundredths, so nothing is cut off.
    statement = [
        (micro(row["Amount"]), micro(row["Balance after"])) for row in browser.open("/wallet/statement/").rows
    ]
    assert statement == [
        *expected_statement,
        (50_000 * MICRO_PER_TOMAN, paid_micro),
        (gift_micro, gift_micro),
    ]
    assert micro(browser.open("/wallet/").stats["Available balance"]) == left_micro

    usage = browser.open("/usage/")
    prompt_tokens = sum(answer.usage.prompt_tokens for answer in answers)
    completion_tokens = sum(answer.usage.completion_tokens for answer in answers)
    assert (usage.stats["Requests"], usage.stats["Tokens in"], usage.stats["Tokens out"]) == (
        "2",
        str(prompt_tokens),
        str(completion_tokens),
    )
    assert micro(usage.stats["Cost"]) == paid_micro - left_micro
    log = browser.open("/usage/requests/")
    logged = [(row["Tokens in"], row["Tokens out"], micro(row["Cost"]), row["Outcome"]) for row in log.rows]
    assert logged == [
        (
            str(answer.usage.prompt_tokens),
            str(answer.usage.completion_tokens),
            answer.cost_micro,
            "completed",
        )
        for answer in reversed(answers)
    ]
    assert installation.manage("check_ledger")["ok"] is True


def test_a_key_issued_beside_the_running_server_works_at_once_and_its_wallet_report_follows(
    installation: Installation,
) -> None:
    mobile = "09351112233"
    issued = installation.manage(
        "issue_key", "--mobile", mobile, "--credit-toman", "5000", "--tier", "Standard"
    )
    before = installation.manage("wallet_report", "--mobile", mobile)
    assert before["available_micro"] == issued["available_micro"]
    with installation.sdk(issued["key"]) as sdk:
        cost_micro = whole(sdk).cost_micro + streamed(sdk).cost_micro
    assert installation.manage("wallet_report", "--mobile", mobile) == {
        "posted_micro": before["posted_micro"] - cost_micro,
        "held_micro": 0,
        "available_micro": before["available_micro"] - cost_micro,
        "open_holds": 0,
        "journal_entries": before["journal_entries"] + 2,
        "usage_records": 2,
        "usage_cost_micro": cost_micro,
    }
    assert installation.manage("check_ledger") == {"ok": True, "broken": [], "warnings": []}


def test_a_newcomer_calls_what_is_beside_chat_too(installation: Installation) -> None:
    issued = installation.manage("issue_key", "--mobile", "09351112255", "--credit-toman", "5000")
    writer, embedder, painter, moderator, speaker, hearer = OTHER_MODELS
    texts = ["The cat sat down", "The cat sat up"]
    with installation.sdk(issued["key"]) as sdk:
        written = sdk.completions.create(model=writer, prompt="Hello!", max_tokens=40)
        stream = sdk.completions.create(model=writer, prompt="Hello!", max_tokens=40, stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == written.choices[0].text
        embedded = sdk.embeddings.create(model=embedder, input=texts)
        assert [len(one.embedding) for one in embedded.data] == [256, 256]
        moderated = sdk.moderations.create(input=["Hello!", "Some violence."])
        assert [result.flagged for result in moderated.results] == [False, True]
        assert moderated.model == moderator
        [drawn] = sdk.images.generate(model=painter, prompt="A walnut tree").data or []
        assert base64.b64decode(drawn.b64_json or "").startswith(b"\x89PNG")
        spoken = sdk.audio.speech.create(model=speaker, voice="alloy", input="Hello there!").content
        heard = sdk.audio.transcriptions.create(model=hearer, file=("hello.wav", spoken))
        assert heard.text.startswith("This is the sandbox")
    assert written.usage is not None
    costs = [2 * Decimal(str(written.usage.model_dump()["cost_toman"]))]
    costs += [Decimal(str(embedded.usage.model_dump()["cost_toman"])), Decimal(5)]  # a request of 50 Rial
    # An image, twelve characters, and less than a second of sound.
    costs += [Decimal(4_000), 12 * Decimal("1.8"), Decimal(12)]
    report = installation.manage("wallet_report", "--mobile", "09351112255")
    assert (report["usage_records"], report["held_micro"]) == (7, 0)
    assert report["usage_cost_micro"] == sum(costs) * 10_000_000
    assert installation.manage("check_ledger")["ok"] is True


def test_tools_make_the_round_trip_whole_and_streamed(installation: Installation) -> None:
    issued = installation.manage("issue_key", "--mobile", "09352223344")
    asked: list[Any] = [{"role": "user", "content": "Shiraz"}]
    with installation.sdk(issued["key"]) as sdk:
        said = sdk.chat.completions.create(model=MODEL, messages=asked, tools=[WEATHER])
        with sdk.chat.completions.stream(model=MODEL, messages=asked, tools=[WEATHER]) as events:
            also_said = events.get_final_completion()
        for completion in (said, also_said):
            assert completion.choices[0].finish_reason == "tool_calls"
            (call,) = completion.choices[0].message.tool_calls or []
            assert call.type == "function"
            assert call.function.name == "weather"
            assert json.loads(call.function.arguments) == {"city": "Shiraz", "days": 1}
        message = said.choices[0].message
        told: list[Any] = [
            *asked,
            message.model_dump(exclude_none=True),
            {
                "role": "tool",
                "tool_call_id": (message.tool_calls or [])[0].id,
                "content": "31 degrees, no wind",
            },
        ]
        answer = sdk.chat.completions.create(model=MODEL, messages=told, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "stop"
    assert "31 degrees, no wind" in (answer.choices[0].message.content or "")
    assert installation.manage("wallet_report", "--mobile", "09352223344")["usage_records"] == 3
