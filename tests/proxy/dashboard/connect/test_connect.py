"""The page with what people's programs need, and that it is what they can read."""

import json
import re
import tomllib
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from accounts.models import User
from keys import lifecycle
from proxy.catalogue import starter
from proxy.catalogue.models import LanguageModel
from proxy.dashboard.connect.programs import PROGRAMS, Setting, ready
from tests.factories import UserFactory
from tests.proxy.factories import PriceFactory, RouteFactory

PAGE = "/connect/"
AT = Setting("https://ham-iran.ir", "hm-a-key", "a/model-1.5", 200_000, 32_000)


def texts(slug: str) -> dict[str, str]:
    program = next(each for each in PROGRAMS if each.slug == slug)
    return dict(program.steps(AT))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.slug)
def test_every_program_is_told_where_to_call_with_which_key_and_model(program: Any) -> None:
    text = "\n".join(program.steps(AT).values())
    assert AT.root in text
    assert AT.key in text
    assert AT.model in text
    assert not re.search(r"ham-iran\.ir/v1/v1|hm-your-api-key|gemini", text)


def test_claude_code_gets_an_address_without_v1_and_no_model_of_another_name() -> None:
    variables = dict(re.findall(r"^export (\w+)=(.*)$", texts("claude-code")["Shell"], re.MULTILINE))
    assert variables["ANTHROPIC_BASE_URL"] == "https://ham-iran.ir"
    assert variables["ANTHROPIC_AUTH_TOKEN"] == "hm-a-key"
    assert {name for name, value in variables.items() if value == AT.model} == {
        "ANTHROPIC_MODEL",
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    }
    assert variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "200000"


def test_what_is_written_into_files_is_what_they_are_called() -> None:
    codex = tomllib.loads(texts("codex")["~/.codex/config.toml"])
    assert codex["model_providers"]["hamiran"] == {
        "name": "Hamiran",
        "base_url": "https://ham-iran.ir/v1",
        "env_key": "HAMIRAN_API_KEY",
        "wire_api": "responses",
    }
    opencode = json.loads(texts("opencode")["~/.config/opencode/opencode.json"])
    model = opencode["provider"]["hamiran"]["models"]["a/model-1.5"]
    assert model["limit"] == {"context": 200_000, "output": 32_000}
    aider = json.loads(texts("aider")[".aider.model.metadata.json"])
    assert aider["openai/a/model-1.5"]["max_input_tokens"] == 200_000


def test_a_program_says_whether_the_model_has_what_it_calls() -> None:
    served = {each.program.slug: each.is_served for each in ready(AT, endpoints=frozenset({"chat"}))}
    assert (served["claude-code"], served["codex"], served["opencode"]) == (False, False, True)


# --- the page ----------------------------------------------------------------------------------------------------


@pytest.fixture
def user(db: None) -> User:
    return UserFactory.create()


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


def test_strangers_are_sent_to_sign_in(client: Client) -> None:
    assert client.get(PAGE).status_code == 302


def test_the_page_has_every_program_for_the_chosen_model(browser: Client, user: User) -> None:
    starter.load()
    route = RouteFactory.create(model__model_id="my-own-model", model__context_tokens=54_321)
    PriceFactory.create(model=route.model)
    key = lifecycle.create(user_id=user.pk, name="laptop").secret
    page = browser.get(PAGE, {"model": "my-own-model"}).text
    for program in PROGRAMS:
        assert f'<h2 id="{program.slug}"><bdi lang="en">{program.title}</bdi></h2>' in page
    assert f"export ANTHROPIC_BASE_URL={settings.BASE_URL}\n" in page
    assert "export ANTHROPIC_MODEL=my-own-model\n" in page
    assert "model_context_window = 54321" in page
    assert f"hm-…{key[-4:]}" in page
    assert "“laptop”" in page
    assert key not in page


def test_a_model_that_is_not_there_is_the_first_one_instead(browser: Client) -> None:
    starter.load()
    page = browser.get(PAGE, {"model": "nothing"}).text
    assert f"export ANTHROPIC_MODEL={starter.MODEL_ID}\n" in page
    assert "You have no working key yet." in page


def test_what_the_chosen_model_lacks_is_said(browser: Client) -> None:
    starter.load()
    LanguageModel.objects.update(endpoints=["chat"])
    assert "is not served at “messages”, which this program calls" in browser.get(PAGE).text


def test_without_a_model_the_page_says_so(browser: Client) -> None:
    assert "No model is on sale right now" in browser.get(PAGE).text
