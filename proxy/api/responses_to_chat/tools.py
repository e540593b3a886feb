"""Tools of a Responses request as a chat's, and what their calls are called on the way back. Pure.

Chat knows functions alone: those of a namespace get a name that holds both, and a custom tool becomes a function
of one text.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.api.responses_to_chat.notes import Notes

FUNCTION, CUSTOM, NAMESPACE = "function", "custom", "namespace"
NAME_MAX = 64  # OpenAI's, which others keep
CUSTOM_INPUT = "input"
CUSTOM_PARAMETERS = {
    "type": "object",
    "properties": {CUSTOM_INPUT: {"type": "string"}},
    "required": [CUSTOM_INPUT],
    "additionalProperties": False,
}
NULL = msgspec.Raw(b"null")
MODES = frozenset({"auto", "none", "required"})


@dataclass(frozen=True, slots=True)
class Called:
    """A tool as the client knows it."""

    name: str
    namespace: str = ""
    is_custom: bool = False


class Tool(msgspec.Struct, gc=False):
    type: str | None = None
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = NULL
    strict: bool | None = None
    format: Any = None
    tools: list[msgspec.Raw] | None = None
    function: msgspec.Raw = NULL  # chat's own form


class Choice(msgspec.Struct, gc=False):
    type: str | None = None
    name: str | None = None
    namespace: str | None = None
    mode: str | None = None
    tools: "list[Choice] | None" = None
    function: Any = None  # chat's own form


_read_tools = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_read_tool = msgspec.json.Decoder(Tool).decode
_read_choice = msgspec.json.Decoder(str | Choice | None).decode


def flat_name(name: str, namespace: str) -> str:
    """The same for the same tool, whatever stands beside it."""
    whole = f"{namespace}__{name}" if namespace else name
    if not namespace or len(whole) <= NAME_MAX:
        return whole
    mark = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[: NAME_MAX - len(mark) - 1]}_{mark}"


@dataclass(slots=True)
class Tools:
    """`functions` in chat's form, by their names there, in the client's order; `called`: what each is to the client."""

    notes: Notes
    functions: dict[str, Any] = field(default_factory=dict)
    called: dict[str, Called] = field(default_factory=dict)
    choice: Any = None

    def read(self, raw: msgspec.Raw | None, *, param: str = "tools") -> None:
        try:
            every = _read_tools(raw) if raw is not None else None
        except msgspec.MsgspecError:
            self.notes.malformed(param, "a list of tools")
            return
        for place, one in enumerate(every or ()):
            try:
                self._add(one, "")
            except msgspec.MsgspecError:
                self.notes.malformed(f"{param}[{place}]", "a tool")

    def choose(self, raw: msgspec.Raw | None) -> None:
        """Reads `tool_choice`, behind all tools."""
        try:
            choice = _read_choice(raw) if raw is not None else None
        except msgspec.MsgspecError:
            self.notes.malformed("tool_choice", "a tool choice")
            return
        if choice is None or not self.functions:
            return
        if isinstance(choice, str):
            self.choice = choice
        elif choice.type == "allowed_tools":
            self._allow(choice)
        elif (name := self._chosen(choice)) is not None:
            self.choice = {"type": FUNCTION, "function": {"name": name}}
        else:  # of a tool that upstream would run, and that was left out
            self.notes.leave_out("tool_choice")

    def _chosen(self, choice: Choice) -> str | None:
        named = choice.function.get("name") if isinstance(choice.function, dict) else choice.name
        if choice.type not in {FUNCTION, CUSTOM} or not isinstance(named, str):
            return None
        return flat_name(named, choice.namespace or "")

    def _allow(self, choice: Choice) -> None:
        """Of the tools only those that may be called: a list of these is OpenAI's alone."""
        allowed = {self._chosen(one) for one in choice.tools or ()}
        kept = {name: tool for name, tool in self.functions.items() if name in allowed}
        self.functions = kept
        self.choice = choice.mode if kept and choice.mode in MODES else None

    def _add(self, raw: msgspec.Raw, namespace: str) -> None:
        tool = _read_tool(raw)
        kind = tool.type or (FUNCTION if tool.name or tool.function != NULL else "")
        if kind == NAMESPACE and not namespace:
            for one in tool.tools or ():
                self._add(one, tool.name or "")
        elif kind == FUNCTION and tool.function != NULL:
            named = msgspec.json.decode(tool.function, type=Tool).name or ""
            self._keep(Called(named), tool.function)
        elif kind in {FUNCTION, CUSTOM} and tool.name:
            called = Called(tool.name, namespace, is_custom=kind == CUSTOM)
            self._keep(called, _function(tool, flat_name(tool.name, namespace), is_custom=called.is_custom))
        else:
            self.notes.leave_out("tools", kind)

    def _keep(self, called: Called, function: Any) -> None:
        name = flat_name(called.name, called.namespace)
        self.functions.setdefault(name, {"type": FUNCTION, "function": function})
        self.called.setdefault(name, called)


def _function(tool: Tool, name: str, *, is_custom: bool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name}
    description = tool.description
    if is_custom:
        description = "\n\n".join(filter(None, (description, _grammar(tool.format))))
    if description:
        function["description"] = description
    if is_custom:
        function["parameters"] = CUSTOM_PARAMETERS
        return function
    if tool.parameters != NULL:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return function


def _grammar(form: Any) -> str:
    """For a model that is not held to a grammar: its text."""
    if not isinstance(form, dict) or not isinstance(form.get("definition"), str):
        return ""
    return f"The input has to match this grammar ({form.get('syntax') or 'grammar'}):\n{form['definition']}"


def custom_arguments(text: str) -> str:
    """A custom tool's input as the arguments of the function that it is in a chat."""
    return msgspec.json.encode({CUSTOM_INPUT: text}).decode()


def custom_input(arguments: str) -> str:
    """The other way; a model that wrote no such object meant all of it."""
    try:
        said = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = said.get(CUSTOM_INPUT) if isinstance(said, dict) else said
    return text if isinstance(text, str) else arguments
