"""What upstreams' usage objects mean, whose word is believed, and what of it a customer sees. Pure."""

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from proxy.catalogue.prices.pricing import COMPLETION_PARTS, PROMPT_PARTS, TOKENS_MAX, Usage
from proxy.metering import purchase, usage_forms
from proxy.metering.bill import Bill

WHOLES = ("prompt_tokens", "completion_tokens", "total_tokens")
CACHE_PARTS = ("cached_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
# The parts of prompt and completion that customers see, in OpenAI's names, and what of `Usage` they are.
SHOWN_PARTS = (
    (
        "prompt_tokens_details",
        ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"),
        attrgetter("cached_tokens", "cache_write_tokens", "input_audio_tokens", "input_image_tokens"),
    ),
    (
        "completion_tokens_details",
        ("reasoning_tokens", "audio_tokens", "image_tokens"),
        attrgetter("reasoning_tokens", "output_audio_tokens", "output_image_tokens"),
    ),
)
# How a report can contradict itself, for the operator's log. It is billed by what of it can be true.
UNREADABLE = "a figure that is no number of tokens"
PARTS_ABOVE_WHOLE = "parts above their whole"
TOTAL_BELOW_PARTS = "a total below its parts"
TOTAL_UNEXPLAINED = "a total that its parts do not explain"
WRITES_DIFFER = "cache writes that differ from their sum"


@dataclass(frozen=True, slots=True)
class Report:
    """A usage object that can be read: its tokens, the object itself, and the operator's purchase price.

    `contradiction`: in what it contradicts itself, if it does.
    """

    usage: Usage
    said: dict[str, Any]
    upstream_cost_nanodollars: int | None = None
    contradiction: str | None = None


def report_of(answer: dict[str, Any]) -> Report | None:
    """The usage of an answer or a chunk, or None where there is none that can be read."""
    for place in (answer, answer.get("x_groq")):  # the second: Groq's streams
        if isinstance(place, dict) and isinstance(said := place.get("usage"), dict):
            if (read := read_usage(said)) is None:
                return None
            usage, contradiction = read
            return Report(usage, said, purchase.nanodollars(said, answer), contradiction)
    return None


def read_usage(said: dict[str, Any]) -> tuple[Usage, str | None] | None:
    """A usage object's tokens, and in what it contradicts itself.

    Some upstreams leave reasoning out of the completion tokens but not out of the total (xAI, Gemini): the total
    counts. Others leave what was cached out of the prompt tokens (Anthropic's form, and translations of it). A part
    that cannot be read counts as none.
    """
    figures = {name: _tokens(value) for name, value in usage_forms.figures(said).items()}
    prompt, completion, total = (figures.get(name) for name in WHOLES)
    if prompt is None or (completion is None and (total is None or "completion_tokens" in figures)):
        return None
    parts = {name: tokens for name, tokens in figures.items() if tokens and name not in WHOLES}
    reading = _Reading(prompt, completion or 0, parts, UNREADABLE if None in figures.values() else None)
    if parts or total != prompt + reading.completion:
        reading.add_cache_writes(parts.pop("cache_write_tokens", 0))
        reading.add_what_is_beside(said, total, reasoning_is_told="reasoning_tokens" in figures)
        reading.compare_parts()
    try:
        return Usage(reading.prompt, reading.completion, **parts), reading.contradiction
    except ValueError:
        return None


@dataclass(slots=True)
class _Reading:
    """A usage object on its way to `Usage`. `parts` are those that are not nothing."""

    prompt: int
    completion: int
    parts: dict[str, int]
    contradiction: str | None

    @property
    def cache(self) -> int:
        """What came from or went to a cache."""
        return sum(self.parts.get(name, 0) for name in CACHE_PARTS)

    def contradicts(self, itself: str) -> None:
        self.contradiction = self.contradiction or itself

    def add_cache_writes(self, tokens: int) -> None:
        """Cache writes of any lifetime: those whose lifetime is not told are of the shorter one."""
        shorter = self.parts.get("cache_write_5m_tokens", 0)
        told = shorter + self.parts.get("cache_write_1h_tokens", 0)
        if 0 < tokens < told:
            self.contradicts(WRITES_DIFFER)
        elif tokens > told:
            self.parts["cache_write_5m_tokens"] = shorter + tokens - told

    def add_what_is_beside(self, said: dict[str, Any], total: int | None, *, reasoning_is_told: bool) -> None:
        """Brings into prompt and completion what names, sums and total show to be beside them."""
        reasoning = self.parts.get("reasoning_tokens", 0)
        if self._cache_is_beside(said, total, reasoning):
            self.prompt += self.cache
        if total is None:
            self.completion += reasoning if reasoning > self.completion else 0
        elif (beside := total - self.prompt - self.completion) < 0:
            self.contradicts(TOTAL_BELOW_PARTS)
        elif beside:
            self.completion += beside
            if not reasoning_is_told:
                self.parts["reasoning_tokens"] = beside
            elif beside != reasoning:
                self.contradicts(TOTAL_UNEXPLAINED)

    def _cache_is_beside(self, said: dict[str, Any], total: int | None, reasoning: int) -> bool:
        if said.get("prompt_tokens") is None:  # Anthropic's names, or those of Responses
            return "cache_read_input_tokens" in said or "cache_creation_input_tokens" in said
        cannot_be_among = self.cache > self.prompt
        if total is None:
            return cannot_be_among
        whole = self.prompt + self.completion
        if total in (whole, whole + reasoning):
            return False
        whole += self.cache
        return total in (whole, whole + reasoning) or (cannot_be_among and total > whole)

    def compare_parts(self) -> None:
        """Sound and images may come from a cache; other parts of a whole exclude each other."""
        parts = self.parts
        made = sum(parts.get(name, 0) for name in COMPLETION_PARTS)
        longest = max(self.cache, parts.get("input_audio_tokens", 0), parts.get("input_image_tokens", 0))
        if longest > self.prompt or made > self.completion:
            self.contradicts(PARTS_ABOVE_WHOLE)


def combined(reports: list[Report]) -> Report | None:
    """One report of those that stand in the choices (Moonshot): the same prompt, and each choice's own tokens."""
    if len(reports) <= 1:
        return reports[0] if reports else None
    usages = [one.usage for one in reports]
    try:
        usage = Usage(
            **{name: max(getattr(one, name) for one in usages) for name in ("prompt_tokens", *PROMPT_PARTS)},
            **{
                name: sum(getattr(one, name) for one in usages)
                for name in ("completion_tokens", *COMPLETION_PARTS)
            },
        )
    except ValueError:
        return None
    contradiction = next((one.contradiction for one in reports if one.contradiction), None)
    return Report(usage, reports[-1].said, contradiction=contradiction)


def believed(
    report: Usage | None,
    estimate: tuple[int, int],
    *,
    at_least: int,
    at_most: tuple[int, int],
    final: bool,
) -> Usage:
    """What is billed: the report where it is an upstream's last word and can be true, to the token.

    The `estimate` is of prompt and completion.

    Completion tokens below `at_least` are no report, nor is a prompt of none. Of a prompt or a completion beyond
    `at_most` the estimate counts, and the rest of the report. A report that was not the last word, because somebody
    left or the answer went on after it, may lack what came since: then the larger counts, component by component.
    """
    if report is None or report.completion_tokens < at_least or not report.prompt_tokens:
        return Usage(*estimate)
    if report.prompt_tokens > at_most[0]:
        report = replace(report, prompt_tokens=estimate[0], **dict.fromkeys(PROMPT_PARTS, 0))
    if report.completion_tokens > at_most[1]:
        report = replace(report, completion_tokens=estimate[1], **dict.fromkeys(COMPLETION_PARTS, 0))
    if final:
        return report
    return replace(
        report,
        prompt_tokens=max(report.prompt_tokens, estimate[0]),
        completion_tokens=max(report.completion_tokens, estimate[1]),
    )


def for_customers(said: dict[str, Any] | None, bill: Bill) -> dict[str, Any]:
    """The usage object of an answer: as upstream gave it, with the tokens that were billed and what they cost."""
    billed = bill.usage
    usage = {
        **purchase.without(said or {}),
        "prompt_tokens": billed.prompt_tokens,
        "completion_tokens": billed.completion_tokens,
        "total_tokens": billed.total_tokens,
    }
    for name, parts, of in SHOWN_PARTS:
        tokens, said_of_parts = of(billed), usage.get(name)
        if said_of_parts or any(tokens):
            details = said_of_parts if isinstance(said_of_parts, dict) else {}
            corrected = {
                part: count
                for part, count in zip(parts, tokens, strict=True)
                if (details.get(part) or 0) != count
            }
            if corrected:
                usage[name] = {**details, **corrected}
    return {**usage, "cost_toman": bill.cost_toman, "cost_details": bill.cost_details()}


def _tokens(value: Any) -> int | None:
    """A whole number of tokens; some upstreams write it as a float."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else None
