"""POST /v1/images/generations: images are drawn from a text. Whole, or in events with drafts before the image."""

from dataclasses import dataclass
from typing import ClassVar

import msgspec

from keys.lookup import KeyIdentity
from proxy.api import fields as body_fields
from proxy.api.images.answers import MADE, TOKENS_PER_IMAGE, ImagesAnswer, kind_of, read_images, units_of
from proxy.api.media_events import MediaEvents
from proxy.api.metered_view import MeteredView
from proxy.api.pieces import PiecesRequest
from proxy.catalogue.prices import by_piece
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Units
from proxy.catalogue.request_fields import is_disguised
from proxy.catalogue.served import ServedRoute
from proxy.catalogue.tokens import PromptSize
from proxy.errors import APIError
from proxy.http.parsing import Fields, Payload
from proxy.metering.admission import PricedRequest
from proxy.metering.endpoint import StreamedAnswer
from proxy.upstreams.protocols import IMAGES, UpstreamProtocol

N_MAX = 10
LAST = "image_generation.completed"
# What services call the number or the size of images beside OpenAI's names: no price covers what these ask for.
UNPRICED = frozenset(
    {
        "num_images", "n_images", "num_images_per_prompt", "image_count", "samples", "batch_size", "batch_count",
        "width", "height", "image_size", "resolution", "aspect_ratio", "megapixels", "upscale", "hires", "hd",
        "frame_count", "frames", "num_frames", "sequential_image_generation", "sequential_image_generation_options",
    }
)  # fmt: skip
READ = frozenset({"prompt", "size", "quality", "output_format"})
FOLDED = READ | UNPRICED
FORMATS = frozenset({"png", "jpeg", "webp"})  # others are of several images, or written by a model of text

_read_text = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class ImagesRequest(PiecesRequest):
    """Billed by images of a size and a quality: those that it names, or those that the answer tells."""

    endpoint: ClassVar = "images"
    protocol: ClassVar[UpstreamProtocol] = IMAGES
    prompt_field: ClassVar = "prompt"
    own_fields: ClassVar = frozenset({"background"})  # the image's

    @property
    def answers(self) -> int:
        return self.units.images

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        body = self.fields_for(route)
        # What is billed by is what is sent.
        for name, kind in (("size", self.units.image_size), ("quality", self.units.image_quality)):
            if kind:
                body[name] = kind
        return msgspec.json.encode(body)

    def read_whole(self, body: bytes, route: ServedRoute) -> ImagesAnswer:
        return read_images(body, model=self.model)

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        return MediaEvents(
            last=LAST,
            model=self.model,
            made=MADE,
            estimate=TOKENS_PER_IMAGE,
            units_of=lambda completed: units_of(completed, 1),
        )


class ImageGenerations(MeteredView):
    endpoint = "images"

    def required_model(self, payload: Payload) -> str:
        return body_fields.model_of(payload)

    def read_request(self, payload: Payload, *, model: str) -> ImagesRequest:
        return read_request(payload, model=model)

    def priced(self, payload: Payload, *, key: KeyIdentity) -> PricedRequest:
        found = super().priced(payload, key=key)
        assert found.request.units is not None
        check_kind(found.request.units, found.model.price)
        return found


def read_request(payload: Payload, *, model: str) -> ImagesRequest:
    """Raises APIError invalid_value."""
    fields = {name: value for name, value in payload.fields.items() if not _is_disguised(name)}
    for name in UNPRICED & fields.keys():
        raise APIError(
            "invalid_value",
            param=name,
            message=f'The "{name}" field is not taken here: use "n", "size" and "quality".',
        )
    if not body_fields.read(fields, "prompt", _read_text, "a text"):
        raise body_fields.invalid("prompt", "a text that is not empty")
    if (said := _text(fields, "output_format")) and said not in FORMATS:
        raise body_fields.invalid("output_format", "png, jpeg or webp")
    stream, images = body_fields.flag(fields, "stream"), body_fields.whole_number(fields, "n", N_MAX) or 1
    if stream and images > 1:
        raise body_fields.invalid("n", "1 in a stream")
    return ImagesRequest(
        fields=fields,
        model=model,
        stream=stream,
        units=Units(images=images, image_size=_kind(fields, "size"), image_quality=_kind(fields, "quality")),
        prompt=PromptSize(text_bytes=payload.text_bytes, expansion_bytes=payload.expansion_bytes),
    )


def check_kind(units: Units, price: PriceQuote) -> None:
    """Raises APIError invalid_value for images of a kind that the model has no price of."""
    if by_piece.can_charge(price, units):
        return
    sizes = {image.size for image in price.images}
    param = "quality" if "" in sizes or units.image_size in sizes else "size"
    kinds = "; ".join(" ".join(filter(None, (image.size, image.quality))) for image in price.images)
    raise APIError(
        "invalid_value",
        param=param,
        message=f"This model does not make such images. It makes these: {kinds}.",
    )


def _is_disguised(name: str) -> bool:
    return is_disguised(name) or (name not in FOLDED and name.casefold() in FOLDED)


def _text(fields: Fields, name: str) -> str:
    raw = fields.get(name)
    return (
        "" if raw is None or bytes(raw) == b"null" else body_fields.read(fields, name, _read_text, "a text")
    )


def _kind(fields: Fields, name: str) -> str:
    said = _text(fields, name)
    kind = kind_of(said)
    if not kind and said.strip().lower() not in {"", "auto"}:
        raise body_fields.invalid(name, "the name of one")
    return kind
