"""The chunks that nearly every event of a stream is, decoded at half the cost of others. Pure."""

import msgspec

NOTHING = msgspec.Raw()


class PlainDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: str | None = None
    role: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None

    def texts(self) -> tuple[str, ...]:
        """What it says; reasoning under two names once."""
        content, reasoning, other = self.content, self.reasoning_content, self.reasoning
        if reasoning is None and other is None:
            return (content,) if content else ()
        return tuple(text for text in (content, reasoning, other if other != reasoning else None) if text)


class PlainChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    delta: PlainDelta
    index: int = 0
    finish_reason: None = None
    native_finish_reason: None = None  # OpenRouter
    matched_stop: None = None  # SGLang
    logprobs: None = None


class PlainChunk(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Text of one choice, and nothing that bills, fails or ends."""

    choices: tuple[PlainChoice]
    model: str | None = None
    usage: msgspec.UnsetType | None = msgspec.UNSET
    error: None = None
    # What tells of nothing.
    id: msgspec.Raw = NOTHING
    object: msgspec.Raw = NOTHING
    created: msgspec.Raw = NOTHING
    system_fingerprint: msgspec.Raw = NOTHING
    service_tier: msgspec.Raw = NOTHING
    provider: msgspec.Raw = NOTHING
    obfuscation: msgspec.Raw = NOTHING
    prompt_token_ids: msgspec.Raw = NOTHING


decode = msgspec.json.Decoder(PlainChunk).decode
