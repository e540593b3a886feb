"""What the views of metered endpoints do whose requests are forms with files."""

from functools import partial
from typing import ClassVar

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.api import origin
from proxy.api.fields import invalid
from proxy.api.metered_view import MeteredView
from proxy.errors import APIError
from proxy.http.forms import Form, read_form
from proxy.http.request import APIRequest
from proxy.http.responses import Reply
from proxy.http.streaming import EventStream
from proxy.idempotency import digests
from proxy.metering import admission
from proxy.metering.admission import PricedRequest
from proxy.metering.endpoint import MeteredRequest

FILE_MAX_BYTES = 25 * 1024 * 1024
REST_MAX_BYTES = 1024 * 1024  # of what surrounds the files
YES, NO = frozenset({"true", "1", "yes"}), frozenset({"", "false", "0", "no", "null", "none"})


class FormView(MeteredView):
    """`files_max`: how many files of the largest size one request may have. `files_are`: how they are sent."""

    files_max = 1
    files_are: ClassVar[str]
    form: Form | None = None

    async def read_files(self, form: Form, *, model: str, user_id: int) -> MeteredRequest:
        """Raises APIError."""
        raise NotImplementedError

    def sends_events(self, request: MeteredRequest) -> bool:
        return False  # not before upstream has its files: until then they are kept, and the answer has no beginning

    async def post(self, request: APIRequest) -> Reply | EventStream:
        try:
            return await super().post(request)
        finally:
            if self.form is not None:
                self.form.close()

    async def read(self, request: APIRequest, key: KeyIdentity) -> PricedRequest:
        max_bytes = self.files_max * FILE_MAX_BYTES + REST_MAX_BYTES
        form = self.form = await read_form(
            request, partial(self.may_read, request), max_bytes=max_bytes, files_are=self.files_are
        )
        self.end_user = origin.named_in_form(form)
        await self.claim_key(request, partial(digests.of_form, form.fields, form.files))
        model_id = (form.text("model") or "").strip()
        if not model_id:
            raise APIError("model_required", param="model")
        model = admission.find_model(runtime.current(), model_id, key=key, endpoint=self.endpoint)
        if any((file.size or 0) > FILE_MAX_BYTES for _name, file in form.files):
            raise APIError("request_too_large")
        if not request.is_counted:  # before anything is measured
            await self.check_throttles(request)
        read = await self.read_files(form, model=model.model_id, user_id=key.user_id)
        return admission.price(read, model)


def flag(form: Form, name: str) -> bool:
    """Raises APIError invalid_value."""
    said = (form.text(name) or "").strip().lower()
    if said not in YES | NO:
        raise invalid(name, "true or false")
    return said in YES
