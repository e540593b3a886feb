"""A streamed legacy completion: chat's stream, whose choices have a `text` in the place of a delta. Pure."""

from collections.abc import Iterable
from typing import Any, ClassVar

from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.api.completions.echo import Echo


class TextStream(AnswerStream):
    """`echo`: the prompts that the choices repeat, which nobody pays as output."""

    NOTHING_MORE: ClassVar[dict[str, Any]] = {"text": "", "logprobs": None}

    def __init__(self, *, echo: Echo | None, **asked: Any) -> None:
        super().__init__(**asked)
        self._echo = echo

    def _said(self, choice: dict[str, Any]) -> Iterable[str]:
        said = super()._said(choice)
        return said if self._echo is None else self._echo.beyond(choice, said)

    def _read_choices(self, choices: list[dict[str, Any]]) -> bool:
        changed = super()._read_choices(choices)
        if self._echo is not None and not (self.is_cut or self.waits_for):
            for choice in choices:
                self._echo.passed(choice, super()._said(choice))
        return changed
