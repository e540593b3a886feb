"""Parts of a Responses message, or of a tool's result, as a chat's. Pure."""

from typing import Any

from proxy.api.responses_to_chat.notes import Notes

TEXTS = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "summary_text": "text",
    "refusal": "refusal",
}
IMAGES = frozenset({"input_image", "image_url"})
FILES = frozenset({"input_file", "file"})
Content = str | list[dict[str, Any]]


def read_parts(content: Any, place: str, notes: Notes) -> Content:
    """What no chat can take stays as it is, to be counted, and is a problem."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return [_part(part, f"{place}[{number}]", notes) for number, part in enumerate(content)]
    if content is not None:
        notes.malformed(place, "a text or a list of parts")
    return ""


def is_text(content: Content) -> bool:
    return isinstance(content, str) or all(part["type"] == "text" for part in content)


def text_of(content: Content, between: str) -> str:
    if isinstance(content, str):
        return content
    return between.join(part["text"] for part in content if part["type"] == "text")


def _part(part: Any, place: str, notes: Notes) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict) or not isinstance(kind := part.get("type"), str):
        notes.malformed(place, "a part with a type")
        return {"type": "unknown", "part": part}
    if kind in TEXTS:
        return _text(part, f"{place}.{TEXTS[kind]}", TEXTS[kind], notes)
    if kind in IMAGES:
        return _image(part, place, notes)
    if kind in FILES:
        return _file(part, place, notes)
    if kind != "input_audio":
        notes.refuse(place, "The model does not take this kind of part.")
    return part


def _text(part: dict[str, Any], place: str, name: str, notes: Notes) -> dict[str, Any]:
    text = part.get(name)
    if not isinstance(text, str):
        notes.malformed(place, "a text")
        text = ""
    return {"type": "text", "text": text}


def _image(part: dict[str, Any], place: str, notes: Notes) -> dict[str, Any]:
    url = part.get("image_url")
    image = dict(url) if isinstance(url, dict) else {"url": url}
    if not isinstance(image.get("url"), str):
        notes.malformed(f"{place}.image_url", "an image's address, or the image itself as a data: address")
        return {**part, "type": "input_image"}
    if isinstance(detail := part.get("detail"), str):
        image["detail"] = detail
    return {"type": "image_url", "image_url": image}


def _file(part: dict[str, Any], place: str, notes: Notes) -> dict[str, Any]:
    given = part.get("file")
    said = given if isinstance(given, dict) else part
    if not isinstance(said.get("file_data"), str):
        notes.malformed(f"{place}.file_data", "the file itself: none is kept here, nor fetched")
        return {**part, "type": "input_file"}
    return {
        "type": "file",
        "file": {name: said[name] for name in ("filename", "file_data") if isinstance(said.get(name), str)},
    }
