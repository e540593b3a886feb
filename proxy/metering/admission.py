"""Which model a request may use."""

from typing import TYPE_CHECKING

from keys.lookup import KeyIdentity
from proxy.catalogue.served import CatalogueCache, ServedModel
from proxy.errors import APIError, unavailable

if TYPE_CHECKING:
    from proxy.runtime import Runtime


def find_model(runtime: "Runtime", model_id: str, *, key: KeyIdentity) -> ServedModel:
    """Raises APIError model_not_found, model_not_allowed."""
    model = on_sale(runtime).get(model_id)
    if model is None:
        raise APIError("model_not_found", param="model")
    if not key.may_use(model_id):
        raise APIError("model_not_allowed", param="model")
    return model


def on_sale(runtime: "Runtime") -> CatalogueCache:
    """The catalogue. Raises APIError until it has been read: before that, no model can be said not to exist."""
    if not runtime.catalogue.is_loaded:
        raise unavailable()
    return runtime.catalogue
