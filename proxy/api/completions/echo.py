"""What of a legacy completion only repeats its prompt, where `echo` asked for that. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Echo:
    """`lengths`: of each prompt, in characters; `answers`: how many are made of each, numbered one after the other.

    A prompt counts by its length alone: tokenizers give it back with other spaces than it had.
    """

    lengths: list[int]
    answers: int
    _passed: dict[int, int] = field(default_factory=dict)  # characters by choice

    def beyond(self, choice: dict[str, Any], said: Iterable[str]) -> Iterable[str]:
        """Of what a choice says, or says in this event, what is no prompt any more."""
        rest = "".join(said)[self._still_to_come(choice) :]
        return (rest,) if rest else ()

    def passed(self, choice: dict[str, Any], said: Iterable[str]) -> None:
        """Counts what has come of a streamed choice."""
        number = _number(choice)
        self._passed[number] = self._passed.get(number, 0) + sum(map(len, said))

    def _still_to_come(self, choice: dict[str, Any]) -> int:
        number = _number(choice)
        prompt = number // self.answers
        length = self.lengths[prompt] if 0 <= prompt < len(self.lengths) else 0
        return max(length - self._passed.get(number, 0), 0)


def _number(choice: dict[str, Any]) -> int:
    number = choice.get("index")
    return number if isinstance(number, int) else 0
