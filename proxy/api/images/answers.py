"""Images that were made: how many and of which kind, and their usage. Pure."""

import re
from dataclasses import dataclass
from typing import Any

from proxy.api.chat_completions.answers import decode, edited
from proxy.api.pieces import NO_USAGE, PiecesSize, renamed, report_in, usage_with_cost
from proxy.catalogue.prices.pricing import Units
from proxy.metering import purchase
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from proxy.metering.reported_usage import Report
from proxy.upstreams.errors import error_of

MADE = "output_image_tokens"
# Where a list prices nothing but tokens and none are reported: gpt-image-1's of a square of medium quality.
TOKENS_PER_IMAGE = 1_056
# What upstreams answer whose filter took every image away. It is about this request: the upstream is well.
FILTERED = {
    "message": "No image was made for this request: its prompt or its images were probably filtered. Change them.",
    "code": "content_policy_violation",
    "status": 400,
}
KIND = re.compile(r"[\w.:-]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImagesAnswer:
    body: bytes
    answer: dict[str, Any]
    report: Report | None
    size: PiecesSize
    model: str

    def for_customer(self, bill: Bill) -> bytes:
        said = self.report.said if self.report else NO_USAGE
        changes = {**purchase.changes(self.answer), "usage": usage_with_cost(said, bill)}
        return edited(self.body, self.answer, changes | renamed(self.answer, self.model))


def read_images(body: bytes, *, model: str) -> ImagesAnswer:
    """Raises BadAnswer."""
    answer = decode(body)
    if (error := error_of(answer)) is not None:
        raise BadAnswer("an error in a 200 answer", error=error)
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        raise BadAnswer("no images")
    images = sum(isinstance(one, dict) and is_image(one) for one in data)
    if not images:
        raise BadAnswer("no images", error=FILTERED)
    size = PiecesSize(TOKENS_PER_IMAGE * images, units_of(answer, images))
    edited(body, answer, {"usage": {}})  # what cannot be written must fail before it is paid for
    return ImagesAnswer(body, answer, report_in(answer, MADE), size, model)


def is_image(told: dict[str, Any]) -> bool:
    return bool(told.get("b64_json") or told.get("url"))


def units_of(told: dict[str, Any], images: int) -> Units:
    return Units(
        images=images, image_size=kind_of(told.get("size")), image_quality=kind_of(told.get("quality"))
    )


def kind_of(value: Any) -> str:
    """A size or a quality as price lists have it; empty where it is left open, or cannot be one."""
    name = value.strip().lower() if isinstance(value, str) else ""
    return name if name != "auto" and KIND.fullmatch(name) else ""
