"""What is asked of images, whether they are drawn from a text or edited: how many, and of which kind."""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

from proxy.api.fields import invalid
from proxy.api.images.answers import (
    MADE,
    TOKENS_PER_IMAGE,
    ImagesAnswer,
    is_image,
    kind_of,
    read_images,
    units_of,
)
from proxy.api.media_events import MediaEvents
from proxy.catalogue.prices import by_piece
from proxy.catalogue.prices.pricing import Units
from proxy.catalogue.request_fields import READ, base, folded, is_disguised
from proxy.catalogue.served import ServedRoute
from proxy.errors import APIError
from proxy.metering.admission import PricedRequest
from proxy.metering.endpoint import StreamedAnswer

N_MAX = 10
# What services call the number, the size or the making of images beside OpenAI's names: no price covers what these
# ask for. However they are spelt.
UNPRICED = frozenset(
    {
        "num_images", "n_images", "num_images_per_prompt", "number_of_images", "number_images", "image_count",
        "max_images", "images_num", "samples", "sample_count", "n_samples", "batch", "batch_size", "batch_count",
        "n_iter", "width", "height", "image_size", "image_width", "image_height", "output_size", "target_size",
        "resolution", "output_resolution", "aspect_ratio", "megapixels", "upscale", "upscale_factor", "hires", "hd",
        "enable_hr", "steps", "num_steps", "num_inference_steps", "inference_steps", "sampling_steps",
        "frame_count", "frames", "num_frames", "sequential_image_generation", "sequential_image_generation_options",
    }
)  # fmt: skip
UNPRICED_FOLDED = frozenset(map(folded, UNPRICED))
FOLDED = UNPRICED | {"prompt", "size", "quality", "output_format"}
FORMATS = frozenset({"png", "jpeg", "webp"})  # others are of several images, or written by a model of text
OWN_FIELDS = frozenset({"background"})  # the image's


class MakesImages:
    """A MeteredRequest's part. `last_event`: the type of the one in which a streamed image comes."""

    __slots__ = ()
    last_event: ClassVar[str]
    model: str
    units: Units

    @property
    def answers(self) -> int:
        return self.units.images

    @property
    def as_billed(self) -> Mapping[str, str]:
        kind = {"size": self.units.image_size, "quality": self.units.image_quality}
        return {name: value for name, value in kind.items() if value}

    def read_whole(self, body: bytes, route: ServedRoute) -> ImagesAnswer:
        return read_images(body, model=self.model)

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        return MediaEvents(
            last=self.last_event,
            model=self.model,
            made=MADE,
            estimate=TOKENS_PER_IMAGE,
            has_medium=is_image,
            ends_with_it=True,
            units_of=lambda completed: units_of(completed, 1),
        )


def units_asked(names: Iterable[str], text: Callable[[str], str], *, images: int, stream: bool) -> Units:
    """`names` are the request's fields, `text` reads one, empty where it is absent. Raises APIError invalid_value."""
    for name in names:
        if folded(base(name)) in UNPRICED_FOLDED:
            raise APIError(
                "invalid_value",
                param=name,
                message=f'The "{name}" field is not taken here: use "n", "size" and "quality".',
            )
    if not text("prompt"):
        raise invalid("prompt", "a text that is not empty")
    if (said := text("output_format")) and said not in FORMATS:
        raise invalid("output_format", "png, jpeg or webp")
    if stream and images > 1:
        raise invalid("n", "1 in a stream")
    size, quality = (_kind(name, text(name)) for name in ("size", "quality"))
    return Units(images=images, image_size=size, image_quality=quality)


def priced(asked: PricedRequest) -> PricedRequest:
    """The same. Raises APIError invalid_value for images of a kind that the model has no price of."""
    units, price = asked.request.units, asked.model.price
    assert units is not None
    if by_piece.can_charge(price, units):
        return asked
    sizes = {image.size for image in price.images}
    param = "quality" if "" in sizes or units.image_size in sizes else "size"
    kinds = "; ".join(" ".join(filter(None, (image.size, image.quality))) for image in price.images)
    raise APIError(
        "invalid_value",
        param=param,
        message=f"This model does not make such images. It makes these: {kinds}.",
    )


def is_misleading(name: str) -> bool:
    """Whether a field is one that is read, in other letters or as a list."""
    if (whole := base(name)) != name:
        return whole.casefold() in (FOLDED | READ) - UNPRICED
    return is_disguised(name) or (name not in FOLDED and name.casefold() in FOLDED)


def _kind(name: str, said: str) -> str:
    kind = kind_of(said)
    if not kind and said.strip().lower() not in {"", "auto"}:
        raise invalid(name, "the name of one")
    return kind
