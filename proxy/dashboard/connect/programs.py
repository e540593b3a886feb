"""How programs that people already use are pointed at this service: ready to copy, for one model. Pure.

Agents, LangChain and cURL are run from these very texts, at pinned versions, by `make clients`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proxy.dashboard.docs import examples

KEY_VARIABLE = "HAMIRAN_API_KEY"


@dataclass(frozen=True, slots=True)
class Setting:
    """What the texts are made of. `root` is the address of this service, without /v1."""

    root: str
    key: str
    model: str
    context_tokens: int
    max_output_tokens: int

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"


@dataclass(frozen=True, slots=True)
class Program:
    """`endpoint`: the one that it calls (proxy.catalogue.endpoints). `steps`: by where each text belongs."""

    slug: str
    title: str
    endpoint: str
    steps: Callable[[Setting], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Ready:
    """A program's texts for one model; `is_served`: whether that model has the endpoint that it calls."""

    program: Program
    is_served: bool
    steps: Sequence[tuple[str, str]]


SHELL = "Shell"


def _claude_code(at: Setting) -> Mapping[str, str]:
    # Its helpers ask for models of Anthropic's names, unless told otherwise, and it takes any other model to have room
    # for a million tokens.
    return {
        SHELL: f"""\
export ANTHROPIC_BASE_URL={at.root}
export ANTHROPIC_AUTH_TOKEN={at.key}
export ANTHROPIC_MODEL={at.model}
export ANTHROPIC_DEFAULT_OPUS_MODEL={at.model}
export ANTHROPIC_DEFAULT_SONNET_MODEL={at.model}
export ANTHROPIC_DEFAULT_HAIKU_MODEL={at.model}
export CLAUDE_CODE_MAX_CONTEXT_TOKENS={at.context_tokens}
export CLAUDE_CODE_MAX_OUTPUT_TOKENS={at.max_output_tokens}
export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
claude"""
    }


def _codex(at: Setting) -> Mapping[str, str]:
    return {
        "~/.codex/config.toml": f"""\
model = "{at.model}"
model_provider = "hamiran"
model_context_window = {at.context_tokens}

[model_providers.hamiran]
name = "Hamiran"
base_url = "{at.base_url}"
env_key = "{KEY_VARIABLE}"
wire_api = "responses\"""",
        SHELL: f"""\
export {KEY_VARIABLE}={at.key}
codex""",
    }


def _opencode(at: Setting) -> Mapping[str, str]:
    return {
        "~/.config/opencode/opencode.json": f"""\
{{
  "$schema": "https://opencode.ai/config.json",
  "model": "hamiran/{at.model}",
  "provider": {{
    "hamiran": {{
      "npm": "@ai-sdk/openai-compatible",
      "name": "Hamiran",
      "options": {{
        "baseURL": "{at.base_url}",
        "apiKey": "{{env:{KEY_VARIABLE}}}"
      }},
      "models": {{
        "{at.model}": {{
          "limit": {{ "context": {at.context_tokens}, "output": {at.max_output_tokens} }}
        }}
      }}
    }}
  }}
}}""",
        SHELL: f"""\
export {KEY_VARIABLE}={at.key}
opencode""",
    }


def _cline(at: Setting) -> Mapping[str, str]:
    return {
        "Settings → API Configuration": f"""\
API Provider: OpenAI Compatible
Base URL: {at.base_url}
API Key: {at.key}
Model ID: {at.model}
Context Window Size: {at.context_tokens}
Max Output Tokens: {at.max_output_tokens}""",
        SHELL: f"""\
cline auth --provider openai-compatible --baseurl {at.base_url} \\
  --apikey {at.key} --modelid {at.model}
cline""",
    }


def _continue(at: Setting) -> Mapping[str, str]:
    return {
        "~/.continue/config.yaml": f"""\
name: Hamiran
version: 1.0.0
schema: v1
models:
  - name: {at.model}
    provider: openai
    model: {at.model}
    apiBase: {at.base_url}
    apiKey: {at.key}
    defaultCompletionOptions:
      contextLength: {at.context_tokens}
      maxTokens: {at.max_output_tokens}""",
        SHELL: "cn",
    }


def _aider(at: Setting) -> Mapping[str, str]:
    return {
        ".aider.model.metadata.json": f"""\
{{
  "openai/{at.model}": {{
    "max_input_tokens": {at.context_tokens},
    "max_output_tokens": {at.max_output_tokens},
    "litellm_provider": "openai",
    "mode": "chat"
  }}
}}""",
        SHELL: f"""\
export OPENAI_API_BASE={at.base_url}
export OPENAI_API_KEY={at.key}
aider --model openai/{at.model}""",
    }


def _open_webui(at: Setting) -> Mapping[str, str]:
    return {
        SHELL: f"""\
pip install open-webui
export OPENAI_API_BASE_URL={at.base_url}
export OPENAI_API_KEY={at.key}
export DEFAULT_MODELS={at.model}
open-webui serve"""
    }


def _n8n(at: Setting) -> Mapping[str, str]:
    return {
        "Credentials → OpenAI": f"""\
API Key: {at.key}
Base URL: {at.base_url}""",
        "OpenAI Chat Model": f"""\
Model: ID, {at.model}
Use Responses API: off""",
    }


def _langchain(at: Setting) -> Mapping[str, str]:
    return {
        "Python": f"""\
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="{at.model}",
    api_key="{at.key}",
    base_url="{at.base_url}",
)
print(model.invoke("Hello!").content)"""
    }


def _laravel(at: Setting) -> Mapping[str, str]:
    return {
        SHELL: """\
composer require openai-php/laravel
php artisan openai:install""",
        ".env": f"""\
OPENAI_API_KEY={at.key}
OPENAI_BASE_URL={at.base_url}
OPENAI_REQUEST_TIMEOUT=300""",  # it gives up after 30 seconds, and what is half written has to be paid
        "PHP": f"""\
use OpenAI\\Laravel\\Facades\\OpenAI;

$answer = OpenAI::chat()->create([
    'model' => '{at.model}',
    'messages' => [['role' => 'user', 'content' => 'Hello!']],
]);
echo $answer->choices[0]->message->content;""",
    }


def _example(example: examples.Example) -> Callable[[Setting], Mapping[str, str]]:
    def steps(at: Setting) -> Mapping[str, str]:
        written = example.written(base_url=at.root, key=at.key, model_id=at.model)
        return {example.title: written.whole}

    return steps


PROGRAMS = (
    Program("claude-code", "Claude Code", "messages", _claude_code),
    Program("codex", "Codex", "responses", _codex),
    Program("opencode", "opencode", "chat", _opencode),
    Program("cline", "Cline", "chat", _cline),
    Program("continue", "Continue", "chat", _continue),
    Program("aider", "aider", "chat", _aider),
    Program("open-webui", "Open WebUI", "chat", _open_webui),
    Program("n8n", "n8n", "chat", _n8n),
    Program("langchain", "LangChain", "chat", _langchain),
    Program("laravel", "Laravel", "chat", _laravel),
    Program("php", "PHP", "chat", _example(examples.PHP)),
    Program("curl", "cURL", "chat", _example(examples.CURL)),
)


def ready(at: Setting, *, endpoints: frozenset[str]) -> list[Ready]:
    """Every program's texts for a model that is served at these endpoints."""
    return [
        Ready(program, program.endpoint in endpoints, list(program.steps(at).items())) for program in PROGRAMS
    ]
