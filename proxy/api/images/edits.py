"""POST /v1/images/edits: images are made from a text and from images, which come in a form."""

from dataclasses import dataclass
from typing import ClassVar

from keys.lookup import KeyIdentity
from proxy.api.fields import invalid
from proxy.api.form_view import FormView, flag
from proxy.api.images import asked
from proxy.api.images.asked import FOLDED, N_MAX, OWN_FIELDS, MakesImages, is_misleading, units_asked
from proxy.api.pieces import FormPiecesRequest
from proxy.catalogue.request_fields import base, folded
from proxy.catalogue.tokens import PromptSize
from proxy.http.forms import Form
from proxy.http.request import APIRequest
from proxy.metering.admission import PricedRequest
from proxy.upstreams.protocols import IMAGE_EDITS, UpstreamProtocol

IMAGES_MAX = 16
FILES = ("image", "image[]", "mask")
# Under which names an image could come as a text: an address, or written as one. It is counted as a file alone.
AS_TEXT = frozenset(
    map(
        folded,
        ("image", "images", "mask", "image_url", "image_urls", "image_base64", "input_image", "input_images",
         "reference_image", "reference_images", "init_image", "file_id", "file_ids"),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageEditsRequest(MakesImages, FormPiecesRequest):
    """Billed as images that are drawn; those that come with it cost what reported tokens cost."""

    endpoint: ClassVar = "images"
    protocol: ClassVar[UpstreamProtocol] = IMAGE_EDITS
    prompt_field: ClassVar = "prompt"
    own_fields: ClassVar = OWN_FIELDS
    read_fields: ClassVar = FormPiecesRequest.read_fields | FOLDED
    last_event: ClassVar[str] = "image_edit.completed"


class ImageEdits(FormView):
    endpoint = "images"
    files_max = 4  # of the largest size, or more smaller ones
    files_are = 'each image as a file named "image" or "image[]"'

    async def read_files(self, form: Form, *, model: str, user_id: int) -> ImageEditsRequest:
        form.fields = [(name, value) for name, value in form.fields if not is_misleading(name)]
        if text := next((name for name, _value in form.fields if folded(base(name)) in AS_TEXT), None):
            raise invalid(text, "a file: images come as image, image[] and mask, each with a file name")
        names = [name for name, _file in form.files]
        if unknown := next((name for name in names if name not in FILES), None):
            raise invalid(unknown, "no file: images come as image, image[] and mask")
        images = len(names) - names.count("mask")
        if not 1 <= images <= IMAGES_MAX or names.count("mask") > 1:
            raise invalid("image", f"1 to {IMAGES_MAX} files, with at most one mask")
        stream = flag(form, "stream")
        units = units_asked(
            [name for name, _value in form.fields],
            lambda name: form.text(name) or "",
            images=_count(form),
            stream=stream,
        )
        return ImageEditsRequest(
            form=form,
            model=model,
            stream=stream,
            units=units,
            prompt=PromptSize(
                sum(len(value.encode()) for _name, value in form.fields), media_parts=len(form.files)
            ),
        )

    async def read(self, request: APIRequest, key: KeyIdentity) -> PricedRequest:
        return asked.priced(await super().read(request, key))


def _count(form: Form) -> int:
    said = (form.text("n") or "1").strip()
    if not (said.isascii() and said.isdecimal() and len(said) <= 3 and 1 <= int(said) <= N_MAX):
        raise invalid("n", f"a whole number from 1 to {N_MAX}")
    return int(said)
