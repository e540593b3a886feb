"""What of a request does not come through its translation. Pure."""

import re

NAMES_MAX = 32
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
UNPRINTED = "..."


class Notes:
    """`left_out` is missed by nobody; `problem`: of what no chat can do without the first field, and what to say."""

    def __init__(self) -> None:
        self._left_out: dict[str, None] = {}
        self.problem: tuple[str, str] | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """As it fits into a header: `truncation`, `tools.web_search`."""
        return tuple(self._left_out)

    def leave_out(self, *steps: str) -> None:
        """The names are the client's own: what is no plain one is not repeated."""
        name = ".".join(step if PLAIN.fullmatch(step) else UNPRINTED for step in steps)
        if len(self._left_out) < NAMES_MAX:
            self._left_out[name] = None

    def refuse(self, param: str, message: str) -> None:
        if self.problem is None:
            self.problem = param, message

    def malformed(self, param: str, wanted: str) -> None:
        self.refuse(param, f'The "{param}" field must be {wanted}.')
