"""What a request's fields and parts are: those that change how much is made, who serves it, or what it costs. Pure.

A hold and a bill rest on the model, the number of choices and the cap that we send; a key's list of models and the
operator's choice of upstreams rest on the model alone. What would change one of these behind our back is left out
of every upstream's body, unless its kind is known to need it (proxy/quirks.py). Any other field passes unread.
Sources: the API references of the services and the servers' own request classes, as of November 2026.
"""

from collections.abc import Iterable

import msgspec

# The cap on one answer, by the names that upstreams obey. One of them, or both, is always sent by us.
LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")

HOW_MUCH_IS_MADE = frozenset(
    {
        # other names of the cap: llama.cpp, Ollama, TGI, transformers, LMDeploy, Responses, Anthropic, Gemini
        "n_predict", "num_predict", "max_new_tokens", "max_length", "max_gen_len", "max_gen_toks",
        "max_output_tokens", "max_tokens_to_sample", "maxOutputTokens", "generation_config", "generationConfig",
        # other names of n, and answers that are made and thrown away
        "n_cmpl", "best_of", "candidate_count", "candidateCount", "num_return_sequences", "num_beams", "beam_width",
        "use_beam_search", "num_generations", "prediction",
        # a template, or sizes of media, of the client's own: prompts of any length
        "chat_template", "mm_processor_kwargs", "media_resolution",
    }
)  # fmt: skip
WHO_SERVES = frozenset(
    {
        # OpenRouter
        "models", "route", "provider", "preset", "transforms",
        # LiteLLM's proxy, and what SDKs call extra_*: bodies inside the body
        "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "custom_llm_provider", "api_base",
        "base_url", "api_key", "api_version", "organization", "deployment_id", "user_config", "litellm_params",
        "allowed_model_region", "num_retries", "mock_response", "mock_tool_calls", "extra_body", "extra_headers",
        "extra_query", "headers",
        # adapters of vLLM and llama.cpp
        "lora", "adapter_id", "lora_request",
    }
)  # fmt: skip
WHAT_IT_COSTS = frozenset(
    {
        "service_tier", "speed", "plugins", "modalities", "audio", "image_config",
        # searches, billed by the piece: OpenAI, xAI, Qwen, Perplexity, Moonshot
        "web_search_options", "web_search", "search_parameters", "search_options", "enable_search",
        "return_images", "return_related_questions", "deferred", "background",
    }
)  # fmt: skip
LEFT_OUT = HOW_MUCH_IS_MADE | WHO_SERVES | WHAT_IT_COSTS

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


class _Tool(msgspec.Struct, gc=False):
    type: str = "function"


_read_tools = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_tool = msgspec.json.Decoder(_Tool).decode
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def client_tools(tools: msgspec.Raw) -> msgspec.Raw:
    """`tools` without those that an upstream would run; as it came where there are none, or where it is no list."""
    try:
        every = _read_tools(tools)
        kept = [tool for tool in every if _read_tool(tool).type in CLIENT_TOOLS]
    except msgspec.MsgspecError:
        return tools  # malformed: upstream says so
    return tools if len(kept) == len(every) else msgspec.Raw(msgspec.json.encode(kept))


def thinking_only(extra_body: msgspec.Raw) -> msgspec.Raw | None:
    """Of Gemini's `extra_body`, how it thinks, which counts towards the cap; None where it says nothing of that.

    `cached_content`, beside it, would prepend a prompt that nobody has bounded.
    """
    kept = _member(_member(extra_body, "google"), "thinking_config")
    return None if kept is None else _nested(("google", "thinking_config"), kept)


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
