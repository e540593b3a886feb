"""What requests have in common that are billed by pieces: images, characters, seconds of sound.

Upstreams take no cap on the tokens of such answers. Where a price list has prices of tokens, what its model declares as
the longest answer is held for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import msgspec

from proxy.api.chat_completions.conversation import bound
from proxy.api.passed_on import PassedOn
from proxy.catalogue.learning import Expected, exceeded
from proxy.catalogue.prices.pricing import TOKENS_MAX, Units, Usage
from proxy.catalogue.request_fields import CHATS, READ, base, is_disguised
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.catalogue.tokens import PromptSize
from proxy.http.forms import Form
from proxy.http.parsing import Fields
from proxy.metering import purchase
from proxy.metering.bill import Bill
from proxy.metering.reported_usage import Report, report_of
from proxy.wire.form import FormBody, FormFile

# What an answer's usage says beside its cost where upstream reports none: strict clients want these fields.
NO_USAGE = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}


@dataclass(frozen=True, slots=True)
class PiecesSize:
    """How much an answer of pieces is. `estimate`: in tokens, for price lists that price nothing else."""

    estimate: int
    units: Units | None = None
    at_least: ClassVar = 0
    at_most: ClassVar = TOKENS_MAX


@dataclass(frozen=True, slots=True)
class PiecesRequest(PassedOn):
    """As much of a MeteredRequest (proxy/metering/endpoint.py) as these endpoints share.

    `own_fields`: those that mean something else in chat, where nobody is sent them (proxy.catalogue.request_fields);
    `not_ours`: those that no upstream is sent.
    """

    endpoint: ClassVar[str]
    prompt_field: ClassVar[str]
    own_fields: ClassVar[frozenset[str]] = frozenset()
    not_ours: ClassVar[frozenset[str]] = CHATS
    output_limit: ClassVar = None

    model: str
    stream: bool
    units: Units
    prompt: PromptSize

    @property
    def answers(self) -> int:
        return 1

    @property
    def inputs(self) -> Mapping[str, str]:
        return {}

    @property
    def prompt_estimate(self) -> int:
        return self.prompt.estimate

    def prompt_bound(self, model: ServedModel) -> int:
        return bound(self.prompt, model)

    def cannot_fit(self, context_tokens: int) -> bool:
        return False  # upstream says so

    def default_output_limit(self, model: ServedModel) -> int:
        return model.max_output_tokens

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        return exceeded(Expected(model, self.prompt, output_limit, self.answers), usage)


@dataclass(frozen=True, slots=True)
class JSONPiecesRequest(PiecesRequest):
    """One whose body is a JSON object, of these fields."""

    fields: Fields

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        own = {name: self.fields[name] for name in self.own_fields if name in self.fields}
        sent = {**own, **route.quirks.sent_on(self.fields)}
        body: dict[str, Any] = {name: value for name, value in sent.items() if name not in self.not_ours}
        body["model"] = route.upstream_model
        return msgspec.json.encode({**body, **self.as_billed})

    @property
    def as_billed(self) -> Mapping[str, str]:
        """The fields by which it is billed, as they were read."""
        return {}


@dataclass(frozen=True, slots=True)
class FormPiecesRequest(PiecesRequest):
    """One whose body is a form, with files."""

    form: Form
    read_fields: ClassVar[frozenset[str]] = READ | {"response_format"}

    def body_for(self, route: ServedRoute, *, output_limit: int) -> FormBody:
        ours = {"model": route.upstream_model, **self.as_billed}
        if self.stream:
            ours["stream"] = "true"
        theirs = [
            (name, value)
            for name, value in self.form.fields
            if name not in ours and self._is_sent(name, route)
        ]
        files = [
            FormFile(name, file.name or "file", file.content_type or "", file, file.size or 0)
            for name, file in self.form.files
        ]
        return FormBody([*ours.items(), *theirs], files)

    @property
    def as_billed(self) -> Mapping[str, str]:
        """The fields by which it is billed, as they were read."""
        return {}

    def _is_sent(self, name: str, route: ServedRoute) -> bool:
        whole, name = name, base(name)
        if name in self.not_ours or (whole != name and name in self.read_fields):
            return False
        return name in self.own_fields or not (is_disguised(name) or name in route.quirks.strip_fields)


def usage_with_cost(said: Mapping[str, Any], bill: Bill) -> dict[str, Any]:
    """An answer's usage as upstream reported it, without what it costs the operator and with what was debited."""
    cost = {"cost_toman": bill.cost_toman, "cost_details": bill.cost_details()}
    return {**purchase.without(dict(said)), **cost}


def renamed(answer: dict[str, Any], model: str) -> dict[str, Any]:
    """What to change where an answer names upstream's model: it is the one that was asked for."""
    return {"model": model} if answer.get("model") is not None else {}


def report_in(answer: dict[str, Any], made: str) -> Report | None:
    """The usage of an answer; where it does not say what the completion is, all of it is `made`, a part of Usage.

    `made` is empty for text.
    """
    report = report_of(answer)
    if report is None or not made or isinstance(report.said.get("output_tokens_details"), dict):
        return report
    return replace(report, usage=replace(report.usage, **{made: report.usage.completion_tokens}))
