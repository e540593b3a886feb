"""A response as far as its events have told it: what is said of it where it does not come to its own end. Pure."""

from dataclasses import dataclass, field
from typing import Any

from proxy.api.chat_completions.answers import encode
from proxy.api.responses.said import Place

LENGTH = {"reason": "max_output_tokens"}


@dataclass(slots=True)
class Unfinished:
    """`response`: as it began; `sequence`: the number of the last event."""

    response: dict[str, Any] | None = None
    sequence: int = 0
    _open: dict[int, dict[str, Any]] = field(default_factory=dict)
    _ended: dict[int, dict[str, Any]] = field(default_factory=dict)
    _texts: dict[Place, list[str]] = field(default_factory=dict)
    _lengths: dict[Place, int] = field(default_factory=dict)

    def see(self, kind: str, event: dict[str, Any]) -> None:
        number, item = event.get("output_index"), event.get("item")
        if isinstance(number, int) and isinstance(item, dict):
            if kind == "response.output_item.added":
                self._open[number] = item
            elif kind == "response.output_item.done":
                self._open.pop(number, None)
                self._ended[number] = item

    def length(self, place: Place) -> int:
        return self._lengths.get(place, 0)

    def hear(self, place: Place, text: str) -> None:
        self._lengths[place] = self._lengths.get(place, 0) + len(text)
        self._texts.setdefault(place, []).append(text)

    def last_events(self, *, usage: dict[str, Any], error: dict[str, Any] | None) -> bytes:
        """Its end for want of length; `error`: why it was not allowed to go on."""
        events, output = b"", dict(self._ended)
        for number, item in self._open.items():
            output[number] = self._so_far(number, item)
            if "call_id" not in item:  # agents carry out what is done
                events += self._event("response.output_item.done", output_index=number, item=output[number])
        status = "failed" if error else "incomplete"
        response = {
            **(self.response or {}),
            "status": status,
            "error": error,
            "incomplete_details": None if error else LENGTH,
            "output": [output[number] for number in sorted(output)],
            "usage": usage,
        }
        return events + self._event(f"response.{status}", response=response)

    def failed(self, error: dict[str, Any]) -> bytes:
        """The last event of one that is not paid for."""
        output = [self._ended[number] for number in sorted(self._ended)]
        response = {**(self.response or {}), "status": "failed", "error": error, "output": output}
        return self._event("response.failed", response=response)

    def _so_far(self, number: int, item: dict[str, Any]) -> dict[str, Any]:
        found = {where: "".join(said) for (of, where), said in self._texts.items() if of == number}
        texts = [found[where] for where in sorted(found, key=str) if str(where).isdecimal()]
        summary = [found[where] for where in sorted(found, key=str) if str(where).startswith("summary")]
        so_far = {**item, "status": "incomplete"}
        if item.get("type") == "message":
            so_far["content"] = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
        elif item.get("type") == "reasoning":
            so_far["summary"] = [{"type": "summary_text", "text": text} for text in summary]
            if texts:
                so_far["content"] = [{"type": "reasoning_text", "text": text} for text in texts]
        for name in ("arguments", "input"):
            if name in found:
                so_far[name] = found[name]
        return so_far

    def _event(self, kind: str, **members: Any) -> bytes:
        self.sequence += 1
        data = encode({"type": kind, "sequence_number": self.sequence, **members})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
