"""POST /v1/moderations."""

from typing import cast

from proxy import runtime
from proxy.api import fields
from proxy.api.metered_view import MeteredView
from proxy.api.moderations.request import ModerationsRequest, read_request
from proxy.http.parsing import Payload
from proxy.http.request import APIRequest
from proxy.metering.admission import on_sale


class Moderations(MeteredView):
    endpoint = "moderations"

    def required_model(self, payload: Payload) -> str:
        """Where the body names none, as it need not: the only one that this key may use for it."""
        if bytes(payload.fields.get("model", b"null")) != b"null":
            return fields.model_of(payload)
        key = cast(APIRequest, self.request).key
        able = [
            model.model_id
            for model in on_sale(runtime.current()).all()
            if self.endpoint in model.endpoints and key.may_use(model.model_id)
        ]
        return able[0] if len(able) == 1 else fields.model_of(payload)

    def read_request(self, payload: Payload, *, model: str) -> ModerationsRequest:
        return read_request(payload, model=model)
