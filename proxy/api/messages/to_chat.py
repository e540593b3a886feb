"""A Messages request as a chat request, for upstreams that speak only that. Pure.

What a chat has no place for is left out, and named. The same prompt makes the same bytes, whether its texts stand as
strings or as lists of blocks: upstream's cache of prompts rests on it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.api.fields import invalid
from proxy.api.messages.content import Block, is_text
from proxy.errors import APIError

PARAGRAPHS = "\n\n"
# Claude Code's first block of the system text: a check sum that is another one in every request.
BILLING_HEADER = "x-anthropic-billing-header:"
TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
AS_THEY_ARE = ("max_tokens", "stream", "temperature", "top_p")
LATER = "(What this tool returned follows in the next message.)"

Fields = dict[str, Any]


def to_chat(asked: Fields) -> tuple[Fields, list[str]]:
    """The body of a chat request, and what of the Messages request it leaves out.

    `asked` has passed `read_content`; of fields that are not in READ it is enough that they are there. Raises APIError
    invalid_value, input_not_supported.
    """
    left_out: list[str] = []
    chat: Fields = {"model": asked["model"], "messages": _messages(asked, left_out)}
    for name, value in asked.items():
        if value is None or name in {"model", "messages", "system"}:
            continue
        if name in AS_THEY_ARE:
            chat[name] = value
        elif (translate := FIELDS.get(name)) is not None:
            chat |= translate(value, left_out)
        else:
            left_out.append(name)
    if not chat.get("tools"):
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            chat.pop(name, None)
    return chat, left_out


# --- fields ------------------------------------------------------------------------------------------------------


def _tools(tools: Any, left_out: list[str]) -> Fields:
    if not isinstance(tools, list):
        raise invalid("tools", "a list of tools")
    functions = []
    for place, tool in enumerate(tools):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise invalid(f"tools[{place}]", "a tool with a name")
        if tool.get("type") not in (None, "custom"):  # of a schema that the model's maker has taught it
            left_out.append(f"tools.{tool['type']}")
            continue
        function = {"name": tool["name"], "parameters": tool.get("input_schema") or {"type": "object"}}
        if tool.get("description"):
            function["description"] = tool["description"]
        if tool.get("strict") is True:
            function["strict"] = True
        functions.append({"type": "function", "function": function})
    return {"tools": functions}


def _tool_choice(choice: Any, _left_out: list[str]) -> Fields:
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool" and isinstance(choice.get("name"), str):
        chosen: Any = {"type": "function", "function": {"name": choice["name"]}}
    elif (chosen := TOOL_CHOICES.get(kind) if isinstance(kind, str) else None) is None:
        raise invalid("tool_choice", "auto, any, tool (with a name) or none, as an object with that type")
    single = {"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") is True else {}
    return {"tool_choice": chosen, **single}


def _stop(sequences: Any, _left_out: list[str]) -> Fields:
    if not isinstance(sequences, list) or not all(isinstance(one, str) for one in sequences):
        raise invalid("stop_sequences", "a list of strings")
    return {"stop": sequences} if sequences else {}


def _output_config(config: Any, left_out: list[str]) -> Fields:
    if not isinstance(config, dict):
        raise invalid("output_config", "an object")
    left_out += [f"output_config.{name}" for name in config if name != "format"]
    return {} if config.get("format") is None else _format(config["format"], "output_config.format")


def _output_format(said: Any, _left_out: list[str]) -> Fields:
    return _format(said, "output_format")


def _format(said: Any, at: str) -> Fields:
    if (
        not isinstance(said, dict)
        or said.get("type") != "json_schema"
        or not isinstance(said.get("schema"), dict)
    ):
        raise invalid(at, "a json_schema with its schema")
    schema = {"name": "answer", "schema": said["schema"], "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


FIELDS: dict[str, Callable[[Any, list[str]], Fields]] = {
    "tools": _tools,
    "tool_choice": _tool_choice,
    "stop_sequences": _stop,
    "output_config": _output_config,
    "output_format": _output_format,  # the same while it was a beta
}
READ = frozenset({"model", "messages", "system", *AS_THEY_ARE, *FIELDS})


# --- messages ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Turn:
    """Of one role, neighbours joined, as the Messages API reads them. `results`: of the calls that came before."""

    role: str
    parts: list[Fields] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[Fields] = field(default_factory=list)
    results: list[Fields] = field(default_factory=list)


def _messages(asked: Fields, left_out: list[str]) -> list[Fields]:
    turns: list[_Turn] = []
    if system := _system(asked.get("system"), left_out):
        turns.append(_Turn("system", system))
    for number, message in enumerate(asked["messages"]):
        role, said = message["role"], message["content"]
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role))
        blocks = [{"type": "text", "text": said}] if isinstance(said, str) else said
        for place, block in enumerate(blocks):
            _add(turns, block, f"messages[{number}].content[{place}]", left_out)
    return [message for turn in turns for message in _written(turn)]


def _system(system: Any, left_out: list[str]) -> list[Fields]:
    if isinstance(system, str):
        return _texts(system)
    parts = []
    for place, block in enumerate(system or ()):
        if block["text"].startswith(BILLING_HEADER):
            left_out.append(f"system[{place}]")
        else:
            parts += _texts(block["text"])
    return parts


def _add(turns: list[_Turn], block: Block, at: str, left_out: list[str]) -> None:
    turn = turns[-1]
    match turn.role, block["type"]:
        case "user", "tool_result":
            _add_result(turns, block, at)
        case "assistant", "tool_use":
            turn.calls.append(_call(block, at))
        case "assistant", "thinking":
            if isinstance(block.get("thinking"), str) and block["thinking"]:
                turn.reasoning.append(block["thinking"])
        case "assistant", "redacted_thinking":
            pass  # nobody else can read it
        case _, kind:
            if (parts := _parts(block, at)) is None:
                left_out.append(f"messages.{kind}")
            else:
                turn.parts += parts


def _add_result(turns: list[_Turn], block: Block, at: str) -> None:
    """Directly behind the calls, wherever it stands: chat's servers take it nowhere else."""
    call_id = block.get("tool_use_id")
    if not isinstance(call_id, str):
        raise invalid(f"{at}.tool_use_id", "the id of a call")
    parts = _inner(block.get("content"), at)
    text = _joined(parts, "\n")
    if media := [part for part in parts if part["type"] != "text"]:
        turns[-1].parts += media
        text = "\n".join(filter(None, (text, LATER)))
    if block.get("is_error") is True and not text.lower().startswith("error"):
        text = f"Error: {text}"
    result = {"role": "tool", "tool_call_id": call_id, "content": text}
    called = (turn for turn in reversed(turns) if any(call["id"] == call_id for call in turn.calls))
    next(called, turns[-1]).results.append(result)


def _call(block: Block, at: str) -> Fields:
    call_id, name = block.get("id"), block.get("name")
    if not isinstance(call_id, str) or not isinstance(name, str):
        raise invalid(at, "a call with an id and a name")
    arguments = orjson.dumps(block.get("input") or {}).decode()
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _written(turn: _Turn) -> Iterable[Fields]:
    if turn.role != "assistant":
        yield from turn.results  # of calls that this conversation does not show
        if turn.parts:
            yield {"role": turn.role, "content": _content(turn.parts)}
        return
    message: Fields = {"role": "assistant", "content": _joined(turn.parts, "") or None}
    if turn.reasoning:
        message["reasoning_content"] = PARAGRAPHS.join(turn.reasoning)
    if turn.calls:
        message["tool_calls"] = turn.calls
    elif message["content"] is None:
        message["content"] = ""
    yield message
    yield from turn.results


def _content(parts: list[Fields]) -> str | list[Fields]:
    return parts if any(part["type"] != "text" for part in parts) else _joined(parts, PARAGRAPHS)


def _joined(parts: list[Fields], between: str) -> str:
    return between.join(part["text"] for part in parts if part["type"] == "text")


def _texts(text: str) -> list[Fields]:
    return [{"type": "text", "text": text}] if text else []


def _inner(content: Any, at: str) -> list[Fields]:
    """What stands inside of a block, as far as a chat has a place for it."""
    if isinstance(content, str):
        return _texts(content)
    blocks = content if isinstance(content, list) else ()
    return [part for block in blocks if isinstance(block, dict) for part in _parts(block, at) or ()]


def _parts(block: Block, at: str) -> list[Fields] | None:
    """None for what a chat has no place for. Raises APIError for what is lost without it."""
    match block.get("type"):
        case "text" if is_text(block):
            return _texts(block["text"])
        case "image":
            return [{"type": "image_url", "image_url": {"url": _image_url(block, at)}}]
        case "document":
            return _document(block, at)
        case "tool_reference":
            return _texts(f"The tool {block.get('tool_name')} can be called now.")
        case "search_result":
            found = [part["text"] for part in _inner(block.get("content"), at) if part["type"] == "text"]
            texts = [block.get("title"), block.get("source"), *found]
            return _texts("\n".join(text for text in texts if isinstance(text, str)))
    return None


def _image_url(block: Block, at: str) -> str:
    source = block.get("source")
    match source if isinstance(source, dict) else {}:
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return f"data:{media_type};base64,{data}"
        case {"type": "url", "url": str(url)}:
            return url
    raise invalid(f"{at}.source", "an image as base64 or as a URL")


def _document(block: Block, at: str) -> list[Fields]:
    title = block.get("title") if isinstance(block.get("title"), str) else None
    source = block.get("source")
    match source if isinstance(source, dict) else {}:
        case {"type": "text", "data": str(data)}:
            return _texts("\n".join(filter(None, (title, data))))
        case {"type": "content", "content": str(text)}:
            return _texts("\n".join(filter(None, (title, text))))
        case {"type": "content", "content": list(inner)}:
            return [*_texts(title or ""), *_inner(inner, at)]
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            file = {"filename": title or "document.pdf", "file_data": f"data:{media_type};base64,{data}"}
            return [{"type": "file", "file": file}]
        case {"type": "url"}:
            raise APIError(
                "input_not_supported",
                param=at,
                message="The model does not read documents from a URL. Send the document itself.",
            )
    raise invalid(f"{at}.source", "a document as base64 or as text")
