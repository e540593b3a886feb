from dataclasses import replace

from proxy.catalogue.endpoints import DEFAULT_ENDPOINTS, needs, served_by, unserved
from tests.proxy.factories import served_model, served_route


def test_an_upstream_that_speaks_chat_serves_what_can_be_translated() -> None:
    assert served_by({"chat"}) == ["chat", "responses", "messages"] == DEFAULT_ENDPOINTS
    assert served_by({"messages"}) == ["messages"]
    assert served_by({"embeddings"}) == ["embeddings"]


def test_what_no_route_can_serve_is_named_with_what_it_needs() -> None:
    assert unserved(["chat", "messages", "speech"], [{"messages"}, {"embeddings"}]) == ["chat", "speech"]
    assert unserved(["responses"], [{"chat"}]) == []
    assert needs(["chat", "messages"]) == "chat needs chat; messages needs messages or chat"


def test_a_model_has_at_an_endpoint_the_routes_that_can_serve_it() -> None:
    chat = served_route(upstream_id=1, protocols=frozenset({"chat"}))
    native = served_route(upstream_id=2, protocols=frozenset({"messages"}))
    model = served_model(routes=(chat, native))
    assert model.at("messages") is model
    at_chat = model.at("chat")
    assert at_chat == replace(model, routes=(chat,))
    assert model.at("speech") is None
