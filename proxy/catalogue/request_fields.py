"""What a request's fields and parts are: those that change how much is made, who serves it, or what it costs. Pure.

A hold and a bill rest on the model, the number of choices and the cap that we send; a key's list of models and the
operator's choice of upstreams rest on the model alone. A field that could change one of these unnoticed is left out
of every upstream's body, unless its kind is known to need it (proxy/catalogue/quirks.py). Any other field passes
unread. Sources: the API references of the services and the servers' own request classes, as of November 2026.
"""

import re
from collections.abc import Iterable

import msgspec

# The cap on one answer, by the names that upstreams obey. One of them, or both, is always sent by us.
LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")

HOW_MUCH_IS_MADE = frozenset(
    {
        # other names of the cap: llama.cpp, Ollama, TGI, transformers, LMDeploy, Responses, Anthropic, Gemini
        "n_predict", "num_predict", "max_new_tokens", "max_length", "max_gen_len", "max_gen_toks",
        "max_output_tokens", "max_tokens_to_sample", "maxOutputTokens", "generation_config", "generationConfig",
        "maxTokens", "maxCompletionTokens", "max_new_token", "max_output_len", "max_seq_len", "max_decode_length",
        # the same inside an object: Ollama, TGI, SGLang, Bedrock
        "options", "parameters", "sampling_params", "inferenceConfig",
        # other names of n, and answers that are made and thrown away
        "n_cmpl", "best_of", "candidate_count", "candidateCount", "num_return_sequences", "num_beams", "beam_width",
        "use_beam_search", "num_generations", "num_completions", "num_outputs", "num_samples", "num_results",
        "numResults", "prediction", "speculation",
        # a template, or sizes of media, of the client's own, and prompts that are no text: of any length
        "prompt_embeds", "chat_template", "mm_processor_kwargs", "media_resolution",
        # prompts that are kept upstream, or looked up there
        "cached_content", "cachedContent", "previous_response_id", "conversation", "prompt_id", "prompt_variables",
        "data_sources", "dataSources",
    }
)  # fmt: skip
WHO_SERVES = frozenset(
    {
        # OpenRouter
        "models", "route", "provider", "preset", "transforms",
        # Vercel's and Portkey's gateways
        "providerOptions", "provider_options", "gateway", "config",
        # LiteLLM's proxy, and what SDKs call extra_*: bodies inside the body
        "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "custom_llm_provider", "api_base",
        "base_url", "api_key", "api_version", "organization", "deployment_id", "user_config", "litellm_params",
        "allowed_model_region", "num_retries", "max_retries", "mock_response", "mock_tool_calls", "mock_timeout",
        "extra_body", "extra_headers", "extra_query", "headers", "model_list", "model_info", "specific_deployment",
        "disable_fallbacks", "tags", "timeout", "request_timeout", "azure_ad_token", "aws_access_key_id",
        "aws_secret_access_key", "aws_session_token", "aws_region_name", "region_name", "vertex_project",
        "vertex_location", "vertex_credentials", "input_cost_per_token", "output_cost_per_token",
        # adapters and drafts of vLLM, SGLang, TGI, llama.cpp, Fireworks
        "lora", "loras", "lora_path", "lora_adapter", "lora_request", "adapter", "adapter_id", "adapters",
        "draft_model",
        # places in engines' queues and caches, which are all customers': vLLM, SGLang, llama.cpp
        "priority", "data_parallel_rank", "kv_transfer_params", "session_params", "custom_logit_processor",
        "bootstrap_host", "bootstrap_port", "bootstrap_room", "id_slot", "slot_id",
    }
)  # fmt: skip
WHAT_IT_COSTS = frozenset(
    {
        "service_tier", "serviceTier", "speed", "plugins", "modalities", "audio", "image_config", "safety_model",
        # tools and containers that run upstream
        "mcp_servers", "container", "code_execution", "enable_code_interpreter", "compound_custom", "skills",
        # searches, billed by the piece: OpenAI, xAI, Qwen, Perplexity, Moonshot
        "web_search_options", "web_search", "search_parameters", "search_options", "enable_search",
        "search_settings", "enable_web_search", "web_search_config", "google_search", "googleSearch",
        "return_images", "return_related_questions", "num_search_results", "media_response", "deferred", "background",
    }
)  # fmt: skip
LEFT_OUT = HOW_MUCH_IS_MADE | WHO_SERVES | WHAT_IT_COSTS

# Fields that we read, and that would mislead an upstream if they stood there twice.
READ = frozenset(
    {
        "model", "messages", "prompt", "input", "echo", "stream", "stream_options", "n", "tools", "functions",
        *LIMIT_FIELDS,
    }
)  # fmt: skip
# Fields of chat alone. Beside it they mean nothing, or another prompt and tools that nobody has bounded.
CHATS = frozenset({"messages", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"})
_KNOWN = READ | LEFT_OUT
_FOLDED = frozenset(name.casefold() for name in _KNOWN)

# What the types of content parts are. A type that is not here may be as large as any.
TEXT, IMAGE, AUDIO, FILE, TOOLS = "text", "image", "audio", "file", "tools"
INPUTS = {
    "text": TEXT, "refusal": TEXT, "input_text": TEXT, "output_text": TEXT, "thinking": TEXT, "reasoning": TEXT,
    "image_url": IMAGE, "input_image": IMAGE, "image": IMAGE,
    "input_audio": AUDIO, "audio_url": AUDIO, "audio": AUDIO,
    "file": FILE, "input_file": FILE, "document": FILE, "video_url": FILE, "video": FILE,
}  # fmt: skip

# Tools that the client carries out itself. Others (searches, interpreters) run upstream and have prices of their own.
CLIENT_TOOLS = frozenset({"function", "custom"})


def base(name: str) -> str:
    """A form's field without the brackets of a list or an object: some servers read `n[]` and `n[0]` as `n`."""
    return name.partition("[")[0]


def folded(name: str) -> str:
    """The same however it is spelt: `num_images`, `numImages`, `Num-Images`."""
    return name.casefold().replace("_", "").replace("-", "")


def is_disguised(name: str) -> bool:
    """Whether a field's name is one of these in other letters: servers written in Go read `Max_Tokens` as well, and
    take the last one."""
    return name not in _KNOWN and name.casefold() in _FOLDED


# Letters that no encoder would escape: a name that is looked for in JSON as it was written may hide behind them.
ESCAPED_LETTERS = re.compile(rb"\\u00[2-7]")
# The same, and the long s and the Kelvin sign, which are s and k to whoever does not tell letters apart.
UNUSUAL_LETTERS = re.compile(rb"\\u00[2-7]|\\u01|\\u21|\xc5\xbf|\xe2\x84\xaa")


class _Tool(msgspec.Struct, gc=False):
    type: str | None = None
    function: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    name: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_tool = msgspec.json.Decoder(_Tool).decode
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def client_tools(tools: msgspec.Raw) -> msgspec.Raw:
    """`tools` without those that an upstream would run; as it came where there are none, or where it is no list."""
    try:
        every = _read_list(tools)
    except msgspec.MsgspecError:
        return tools  # malformed: upstream says so
    kept = [tool for tool in every if _is_clients(tool)]
    return tools if len(kept) == len(every) else msgspec.Raw(msgspec.json.encode(kept))


def has_disguised_type(tool: msgspec.Raw) -> bool:
    """Whether a tool tells a type in other letters too: servers written in Go read that one, if it stands last."""
    return without_disguised(tool, ("type",)) is not tool


def without_disguised(value: msgspec.Raw, names: tuple[str, ...]) -> msgspec.Raw:
    """An object without members whose names are some of these in other letters; as it came where there are none."""
    raw = bytes(value)
    lowered = raw.lower()
    quoted = [b'"%b"' % name.encode() for name in names]
    if all(lowered.count(name) == raw.count(name) for name in quoted) and not UNUSUAL_LETTERS.search(raw):
        return value
    try:
        members = _read_members(value)
    except msgspec.MsgspecError:
        return value  # no object: upstream says so
    kept = {name: told for name, told in members.items() if name in names or name.casefold() not in names}
    return value if len(kept) == len(members) else msgspec.Raw(msgspec.json.encode(kept))


def _is_clients(tool: msgspec.Raw) -> bool:
    if has_disguised_type(tool):
        return False
    try:
        said = _read_tool(tool)
    except msgspec.MsgspecError:
        return True  # malformed: upstream says so
    if said.type is None:  # `{"googleSearch":{}}`, as gateways to Gemini take it
        return said.function is not msgspec.UNSET or said.name is not msgspec.UNSET
    return said.type in CLIENT_TOOLS


def thinking_only(extra_body: msgspec.Raw) -> msgspec.Raw | None:
    """The thinking options in Gemini's `extra_body`, whose tokens count towards the cap; None if there are none.

    `cached_content`, beside them, would prepend a prompt that no bound covers.
    """
    kept = _member(_member(extra_body, "google"), "thinking_config")
    return None if kept is None else _nested(("google", "thinking_config"), kept)


# What an assistant thought, in the history that comes back: some services know it, others refuse any name they do not.
REASONING = "reasoning_content"


def without_reasoning(messages: msgspec.Raw) -> msgspec.Raw:
    """`messages` without what the assistant thought; as they came where they have none of it."""
    if REASONING.encode() not in bytes(messages):
        return messages
    try:
        every = _read_list(messages)
        members = [_read_members(message) for message in every]
    except msgspec.MsgspecError:
        return messages
    if not any(REASONING in message for message in members):
        return messages
    kept = ({name: value for name, value in message.items() if name != REASONING} for message in members)
    return msgspec.Raw(msgspec.json.encode(list(kept)))


def _member(value: msgspec.Raw | None, name: str) -> msgspec.Raw | None:
    if value is None:
        return None
    try:
        return _read_members(value).get(name)
    except msgspec.MsgspecError:
        return None


def _nested(names: Iterable[str], value: msgspec.Raw) -> msgspec.Raw:
    for name in reversed(tuple(names)):
        value = msgspec.Raw(msgspec.json.encode({name: value}))
    return value
