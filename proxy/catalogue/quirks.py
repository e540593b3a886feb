"""How kinds of upstreams differ from OpenAI's own, as one table of declared rules. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from proxy.catalogue.request_fields import (
    LEFT_OUT,
    LIMIT_FIELDS,
    REASONING,
    thinking_only,
    without_reasoning,
)

# What bounds an answer, bills it or chooses its form: always sent on.
NEEDED_FIELDS = frozenset({"model", "messages", "stream", "stream_options", "n", *LIMIT_FIELDS})
BOTH_LIMITS = "both"
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


# Messages that are about the request although their status (404, or any 5xx) speaks of the operator or the upstream.
REQUESTS_FAULTS = (
    # llama.cpp, 500: an image for a model without eyes, what it cannot parse, fields that exclude each other
    r"input is not supported", r"failed to parse (?:messages|tools)", r"unknown reasoning format", r"cannot use both",
    # templates of models, 500 from llama.cpp and others: they raise what they do not take
    r"roles must alternate", r"jinja exception",
    # Ollama, 500; OpenRouter, 404
    r"missing data required for image input", r"no endpoints found that support",
    r"(?:does|do|can)(?: not|n't|not|'t) (?:support|accept|take) (?:\w+ )?"
    r"(?:image|audio|video|file|tool|function|vision|system|multi-?modal)",
    r"(?:not able|unable|cannot|can't) (?:to )?(?:process|handle|read) (?:\w+ )?(?:image|audio|video)",
    r"(?:image|audio|video|vision|tool|multi-?modal)\w*(?: \w+)? (?:is|are) not (?:supported|allowed|enabled)",
    r"is not a (?:multi-?modal|vision)", r"only (?:supports?|accepts?|takes?) text", r"text[- ]only",
)  # fmt: skip


class UnknownKind(LookupError):
    """An upstream of a kind that has no rules here."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """`strip_fields`: top-level request fields that are left out; `reduced_fields`: those of which a part is sent on.
    `limit_fields`: the names under which the cap on an answer is sent. `repairs_answers`: see ChunkRepairs.

    `reports_one_choice`: of several choices, its usage counts one. `bills_after_disconnect`: it generates and bills to
    the end although its reader has disconnected. `operators_faults`: the status or reason that its refusal of a
    request names when the operator is at fault.
    `provider`: its name in traces, as the GenAI conventions know it.
    `requests_faults`: patterns of messages about the request that come with a 404 or a 5xx all the same.
    """

    provider: str = "openai"
    strip_fields: frozenset[str] = LEFT_OUT
    reduced_fields: Mapping[str, Callable[[msgspec.Raw], msgspec.Raw | None]] = field(default_factory=dict)
    limit_fields: tuple[str, ...] = ("max_tokens",)
    repairs_answers: bool = False
    reports_one_choice: bool = False
    bills_after_disconnect: bool = False
    operators_faults: frozenset[str] = frozenset()
    requests_faults: tuple[str, ...] = REQUESTS_FAULTS

    def sent_on(self, fields: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        """What of a client's fields goes to such an upstream."""
        sent = {name: value for name, value in fields.items() if name not in self.strip_fields}
        for name, reduced in self.reduced_fields.items():
            if name in fields and (kept := reduced(fields[name])) is not None:
                sent[name] = kept
        return sent


# By Upstream.kind.
QUIRKS = {
    "openai": Quirks(),
    "gemini": Quirks(
        provider="gcp.gemini",
        # It answers 400 to these. Only what SDKs and frameworks send by themselves, or what merely tunes an answer:
        # a field whose absence would change an answer's form (`logprobs`) stays, and is refused honestly.
        strip_fields=LEFT_OUT
        | {
            "store", "metadata", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
            "verbosity", "seed", "logit_bias", "frequency_penalty",
            "presence_penalty", "repetition_penalty", "top_k", "min_p", "reasoning",
        },
        reduced_fields={"extra_body": thinking_only, "messages": without_reasoning},
        repairs_answers=True,
        bills_after_disconnect=True,
        # All with 400: a wrong key (its `status` is that of any bad request), and a country or an account that is
        # not served.
        operators_faults=frozenset({"API_KEY_INVALID", "FAILED_PRECONDITION"}),
    ),
    # Its usage is that of one choice, whole and streamed (seen with xllamacpp 2026.10.11549).
    "llamacpp": Quirks(provider="llama.cpp", reports_one_choice=True),
}  # fmt: skip


def field_names(text: str) -> list[str]:
    """The names in a text, with commas or spaces between them."""
    return text.replace(",", " ").split()


def unfit_fields(text: str) -> list[str]:
    """Those of `field_names` that are not plain names, or that are needed."""
    return [name for name in field_names(text) if name in NEEDED_FIELDS or FIELD_NAME.fullmatch(name) is None]


def rules_for(*, kind: str, strip_fields: str, limit_field: str = "max_tokens") -> Quirks:
    """The rules of one upstream: those of its kind, and the fields that an admin named. Raises UnknownKind.

    `reasoning_content` among them keeps the assistant's thoughts out of the history that a strict upstream is sent.
    `limit_field`: the name of the cap that it obeys, or `both`.
    """
    rules = QUIRKS.get(kind)
    if rules is None:
        raise UnknownKind(f"its kind {kind!r} is unknown to this version")
    more = frozenset(field_names(strip_fields)) - NEEDED_FIELDS
    limit_fields = LIMIT_FIELDS if limit_field == BOTH_LIMITS else (limit_field,)
    if not more and limit_fields == rules.limit_fields:
        return rules
    reduced_fields = {name: reduced for name, reduced in rules.reduced_fields.items() if name not in more}
    if REASONING in more:
        reduced_fields["messages"] = without_reasoning
    return replace(
        rules,
        strip_fields=rules.strip_fields | more,
        reduced_fields=reduced_fields,
        limit_fields=limit_fields,
    )


def operators_fault(error: dict[str, Any], rules: Quirks) -> str | None:
    """Which of the operator's faults a decoded error object names, by its status or by a reason in its details."""
    named = [error.get("status"), *(detail.get("reason") for detail in dicts(error.get("details")))]
    return next((name for name in named if isinstance(name, str) and name in rules.operators_faults), None)


def is_requests_fault(message: str, rules: Quirks) -> bool:
    return any(re.search(pattern, message, re.IGNORECASE) for pattern in rules.requests_faults)


def dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
