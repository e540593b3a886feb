"""What is read of a legacy completion's body: only the fields that route, bound or bill it. The rest passes unread."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from proxy.api import fields as body_fields
from proxy.api import passed_on, text_input
from proxy.api.chat_completions.answers import ChatAnswer, said_in, whole_answer
from proxy.api.chat_completions.request import N_MAX, OUTPUT_LIMIT_MAX
from proxy.api.completions.echo import Echo
from proxy.api.completions.text_stream import TextStream
from proxy.api.passed_on import PassedOn
from proxy.api.text_input import TextInput
from proxy.catalogue.learning import Expected, exceeded
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.request_fields import CHATS, LIMIT_FIELDS, is_disguised
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.http.parsing import Fields, Payload, decode_anything
from proxy.upstreams.protocols import COMPLETIONS

DEFAULT_OUTPUT_TOKENS = 16  # what the API's own specification says
NOT_OURS = frozenset({"input", *CHATS, *LIMIT_FIELDS})


@dataclass(frozen=True, slots=True)
class CompletionRequest(PassedOn):
    """A MeteredRequest (proxy/metering/endpoint.py). `fields` are the client's.

    `each`: how many answers it wants of each prompt. `echo`: whether they begin with their prompts. `only_scores`:
    whether it wants no more than those, with their probabilities.
    """

    endpoint: ClassVar = "completions"
    protocol: ClassVar = COMPLETIONS
    prompt_field: ClassVar = "prompt"
    inputs: ClassVar[Mapping[str, str]] = {}
    units: ClassVar = None

    fields: Fields
    model: str
    prompts: TextInput
    stream: bool
    include_usage: bool
    each: int
    output_limit: int | None
    only_scores: bool
    echo: bool

    @property
    def answers(self) -> int:
        return self.each * self.prompts.count

    @property
    def prompt_estimate(self) -> int:
        return self.prompts.estimate

    def prompt_bound(self, model: ServedModel) -> int:
        return self.prompts.bound(model)

    def cannot_fit(self, context_tokens: int) -> bool:
        return self.prompts.cannot_fit(context_tokens)

    def default_output_limit(self, model: ServedModel) -> int:
        return min(DEFAULT_OUTPUT_TOKENS, model.max_output_tokens)

    def is_reported_by(self, route: ServedRoute) -> bool:
        return self.answers == 1 or not route.quirks.reports_one_choice

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        """The body for an upstream: the model's name there, the cap, usage asked for in streams."""
        body = passed_on.body(self.fields, route, without=NOT_OURS)
        body["max_tokens"] = 0 if self.only_scores else output_limit
        if self.stream:
            options = body_fields.options(self.fields, "stream_options")
            body["stream_options"] = {**options, "include_usage": True}
        return msgspec.json.encode(body)

    def read_whole(self, body: bytes, route: ServedRoute) -> ChatAnswer:
        echo = self._echo()

        def said(choice: dict[str, Any]) -> Iterable[str]:
            every = said_in(choice, "message")
            return every if echo is None else echo.beyond(choice, every)

        return whole_answer(body, model=self.model, said=said)

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> TextStream:
        return TextStream(
            echo=self._echo(),
            include_usage=self.include_usage,
            model=self.model,
            choices=self.answers,
            output_bound=output_bound,
        )

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        expected = Expected(model, self.prompts.size, output_limit, self.answers, prompts=self.prompts.count)
        return exceeded(expected, usage)

    def _echo(self) -> Echo | None:
        return Echo(self.prompts.characters, self.each, self.prompts.texts) if self.echo else None


def read_request(payload: Payload, *, model: str) -> CompletionRequest:
    """Raises APIError invalid_value."""
    fields = {name: value for name, value in payload.fields.items() if not is_disguised(name)}
    prompts = text_input.read(payload, "prompt")
    limits = [
        limit
        for name in LIMIT_FIELDS
        if (limit := body_fields.whole_number(fields, name, OUTPUT_LIMIT_MAX, minimum=0)) is not None
    ]
    options = body_fields.options(fields, "stream_options")
    echo, only_scores = body_fields.flag(fields, "echo"), 0 in limits
    if echo and prompts.id_counts and not only_scores:  # nobody could tell the prompt from what is made
        raise body_fields.invalid("echo", "left out where the prompt is token ids, unless max_tokens is 0")
    return CompletionRequest(
        fields=fields,
        model=model,
        prompts=prompts,
        stream=body_fields.flag(fields, "stream"),
        include_usage=bool(body_fields.read(options, "include_usage", decode_anything, "a boolean")),
        each=body_fields.whole_number(fields, "n", N_MAX) or 1,
        output_limit=max(min(limits), 1) if limits else None,  # both caps are kept by keeping the lower one
        only_scores=only_scores,
        echo=echo,
    )
