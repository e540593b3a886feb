"""What of a legacy completion only repeats its prompt, where `echo` asked for that. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Echo:
    """`lengths`: of each prompt, in characters; `answers`: how many are made of each, numbered one after the other.

    `texts`: the prompts, where they are no ids. Tokenizers give them back with other spaces than they had; what else
    differs is no repetition, as of upstreams that do not know `echo`, and neither is what follows it.
    """

    lengths: list[int]
    answers: int
    texts: list[str]
    _passed: dict[int, int] = field(default_factory=dict)  # characters by choice
    _compared: dict[int, int] = field(default_factory=dict)  # the same without spaces
    _others: set[int] = field(default_factory=set)  # choices that do not repeat their prompts

    def __post_init__(self) -> None:
        self.texts = [_without_spaces(text) for text in self.texts]

    def beyond(self, choice: dict[str, Any], said: Iterable[str]) -> Iterable[str]:
        """Of what a choice says, or says in this event, what is no prompt any more."""
        text, number = "".join(said), _number(choice)
        repeated = text[: self._still_to_come(number)]
        rest = text[len(repeated) :] if self._is_prompt(number, repeated) else text
        return (rest,) if rest else ()

    def passed(self, choice: dict[str, Any], said: Iterable[str]) -> None:
        """Counts what has come of a streamed choice."""
        text, number = "".join(said), _number(choice)
        repeated = text[: self._still_to_come(number)]
        if not self._is_prompt(number, repeated):
            self._others.add(number)
        self._passed[number] = self._passed.get(number, 0) + len(text)
        self._compared[number] = self._compared.get(number, 0) + len(_without_spaces(repeated))

    def _still_to_come(self, number: int) -> int:
        prompt = number // self.answers
        length = self.lengths[prompt] if 0 <= prompt < len(self.lengths) else 0
        return 0 if number in self._others else max(length - self._passed.get(number, 0), 0)

    def _is_prompt(self, number: int, said: str) -> bool:
        if not said or not self.texts:
            return True
        at, said = self._compared.get(number, 0), _without_spaces(said)
        return said.startswith(self.texts[number // self.answers][at : at + len(said)])


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def _number(choice: dict[str, Any]) -> int:
    number = choice.get("index")
    return number if isinstance(number, int) else 0
