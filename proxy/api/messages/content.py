"""What is read of a Messages body's prompt: whether it is one, how much it says, and which media it holds. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy.api.fields import invalid
from proxy.catalogue.request_fields import FILE, IMAGE
from proxy.catalogue.tokens import TextSize
from proxy.errors import APIError

ROLES = ("user", "assistant", "system")
MESSAGES_MAX = 20_000
MEDIA = {"image": IMAGE, "document": FILE}
TEXTS = frozenset(
    {
        "text", "thinking", "redacted_thinking", "tool_use", "tool_result", "tool_reference", "search_result",
        "server_tool_use", "mcp_tool_use", "compaction", "fallback",
    }
)  # fmt: skip
KEPT_UPSTREAM = "Files that are kept upstream cannot be used. Send the file itself."
RESULTS = "_tool_result"  # what upstreams' own tools found, by the end of their type

Block = dict[str, Any]


@dataclass(slots=True)
class Content:
    """What a prompt is made of. `said`: its texts that every model reads.

    `media_bytes`: those of media that stand in the request as base64. `is_fixed`: the same JSON makes the same prompt
    whenever it is sent, no medium being fetched from elsewhere.
    """

    said: list[str] = field(default_factory=list)
    media_parts: int = 0
    media_bytes: int = 0
    inputs: dict[str, str] = field(default_factory=dict)
    is_fixed: bool = True

    @property
    def text_bytes(self) -> int:
        return sum(len(text) if text.isascii() else len(text.encode()) for text in self.said)

    @property
    def size(self) -> TextSize:
        size = TextSize()
        size.add(self.said)
        size.deltas = 0  # it came as one
        return size


def read_content(messages: list[Any], system: Any = None) -> Content:
    """Raises APIError invalid_messages, invalid_value, input_not_supported."""
    if len(messages) > MESSAGES_MAX:
        raise APIError("invalid_messages", param="messages")
    content = Content()
    _read_system(content, system)
    for number, message in enumerate(messages):
        at = f"messages[{number}]"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise APIError("invalid_messages", param=at)
        said = message.get("content")
        if isinstance(said, str):
            content.said.append(said)
        elif isinstance(said, list):
            _read_blocks(content, said, at)
        else:
            raise APIError("invalid_messages", param=at)
    return content


def _read_system(content: Content, system: Any) -> None:
    if isinstance(system, str):
        content.said.append(system)
    elif system is not None:
        if not isinstance(system, list) or not all(is_text(block) for block in system):
            raise invalid("system", "a string or a list of text blocks")
        content.said += [block["text"] for block in system]


def _read_blocks(content: Content, blocks: list[Any], at: str) -> None:
    for place, block in enumerate(blocks):
        _read_block(content, block, f"{at}.content[{place}]")


def _read_block(content: Content, block: Any, where: str) -> None:
    if not isinstance(block, dict) or not isinstance(kind := block.get("type"), str):
        raise APIError("invalid_messages", param=where)
    if kind == "text":
        if not isinstance(block.get("text"), str):
            raise APIError("invalid_messages", param=where)
        content.said.append(block["text"])
    elif kind in MEDIA:
        _read_medium(content, block, where)
    elif kind == "container_upload":
        raise _unsupported(where, KEPT_UPSTREAM)
    elif kind == "tool_result" and isinstance(block.get("content"), str):
        content.said.append(block["content"])
    elif kind in TEXTS or kind.endswith(RESULTS):
        for inner in _within(block.get("content")):
            _read_block(content, inner, where)
    else:  # as large as any
        content.media_parts += 1


def _within(value: Any) -> Iterator[Block]:
    """The texts and media inside of a block's content."""
    if isinstance(value, list):
        for one in value:
            yield from _within(one)
    elif isinstance(value, dict):
        if value.get("type") in tuple(MEDIA) or is_text(value):
            yield value
        else:
            yield from _within(value.get("content"))


def _read_medium(content: Content, block: Block, where: str) -> None:
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    match source.get("type"):
        case "text" if block["type"] == "document":
            content.said.append(source["data"] if isinstance(source.get("data"), str) else "")
            return
        case "content" if block["type"] == "document":
            inner = source.get("content")
            if isinstance(inner, str):
                content.said.append(inner)
            for one in _within(inner):
                _read_block(content, one, where)
            return
        case "file":
            raise _unsupported(where, KEPT_UPSTREAM)
        case "base64" if isinstance(source.get("data"), str):
            content.media_bytes += len(source["data"])
        case _:
            content.is_fixed = False
    content.media_parts += 1
    content.inputs.setdefault(MEDIA[block["type"]], where)


def is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)


def unmarked(message: Block) -> Block:
    """A message as it is written whether it is marked for the cache or not: agents mark another one every turn, and
    write it as a list of blocks for that alone."""
    if not isinstance(message["content"], list):
        return message
    blocks = [_unmarked(block) for block in message["content"]]
    alone = len(blocks) == 1 and is_text(blocks[0]) and len(blocks[0]) == 2
    return message | {"content": blocks[0]["text"] if alone else blocks}


def _unmarked(block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    kept = {name: value for name, value in block.items() if name != "cache_control"}
    if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
        kept["content"] = [_unmarked(one) for one in block["content"]]
    return kept


def _unsupported(param: str, message: str) -> APIError:
    return APIError("input_not_supported", param=param, message=message)
