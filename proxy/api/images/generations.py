"""POST /v1/images/generations: images are drawn from a text. Whole, or in events with drafts before the image."""

from dataclasses import dataclass
from typing import ClassVar

import msgspec

from keys.lookup import KeyIdentity
from proxy.api import fields as body_fields
from proxy.api.images import asked
from proxy.api.images.asked import N_MAX, OWN_FIELDS, MakesImages, is_misleading, units_asked
from proxy.api.metered_view import MeteredView
from proxy.api.pieces import JSONPiecesRequest
from proxy.catalogue.tokens import PromptSize
from proxy.http.parsing import Fields, Payload
from proxy.metering.admission import PricedRequest
from proxy.upstreams.protocols import IMAGES, UpstreamProtocol

_read_text = msgspec.json.Decoder(str | None).decode


@dataclass(frozen=True, slots=True)
class ImagesRequest(MakesImages, JSONPiecesRequest):
    """Billed by images of a size and a quality: those that it names, or those that the answer tells."""

    endpoint: ClassVar = "images"
    protocol: ClassVar[UpstreamProtocol] = IMAGES
    prompt_field: ClassVar = "prompt"
    own_fields: ClassVar = OWN_FIELDS
    last_event: ClassVar[str] = "image_generation.completed"


class ImageGenerations(MeteredView):
    endpoint = "images"

    def required_model(self, payload: Payload) -> str:
        return body_fields.model_of(payload)

    def read_request(self, payload: Payload, *, model: str) -> ImagesRequest:
        return read_request(payload, model=model)

    def priced(self, payload: Payload, *, key: KeyIdentity) -> PricedRequest:
        return asked.priced(super().priced(payload, key=key))


def read_request(payload: Payload, *, model: str) -> ImagesRequest:
    """Raises APIError invalid_value."""
    fields: Fields = {name: value for name, value in payload.fields.items() if not is_misleading(name)}

    def text(name: str) -> str:
        return body_fields.read(fields, name, _read_text, "a text") or ""

    stream = body_fields.flag(fields, "stream")
    images = body_fields.whole_number(fields, "n", N_MAX) or 1
    return ImagesRequest(
        fields=fields,
        model=model,
        stream=stream,
        units=units_asked(fields, text, images=images, stream=stream),
        prompt=PromptSize(text_bytes=payload.text_bytes, expansion_bytes=payload.expansion_bytes),
    )
