"""The protocols in which upstreams are asked."""

from dataclasses import dataclass

from proxy.wire.form import FORM


@dataclass(frozen=True, slots=True)
class UpstreamProtocol:
    """`name`: what routes (proxy.catalogue.endpoints) and the log call it. `path` stands behind an upstream's base URL.

    `key_header`: where the upstream's key goes beside `Authorization`; `headers`: what every such request has.
    """

    name: str
    path: str
    key_header: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


CHAT = UpstreamProtocol("chat", "/chat/completions")
RESPONSES = UpstreamProtocol("responses", "/responses")
# Anthropic reads x-api-key, engines that speak its protocol (vLLM) only Authorization.
MESSAGES = UpstreamProtocol("messages", "/messages", "x-api-key", (("anthropic-version", "2023-06-01"),))
COUNT_TOKENS = UpstreamProtocol("messages", "/messages/count_tokens", MESSAGES.key_header, MESSAGES.headers)
COMPLETIONS = UpstreamProtocol("completions", "/completions")
EMBEDDINGS = UpstreamProtocol("embeddings", "/embeddings")
MODERATIONS = UpstreamProtocol("moderations", "/moderations")
IMAGES = UpstreamProtocol("images", "/images/generations")
IMAGE_EDITS = UpstreamProtocol("images", "/images/edits", content_type=FORM)
SPEECH = UpstreamProtocol("speech", "/audio/speech")
TRANSCRIPTIONS = UpstreamProtocol("transcriptions", "/audio/transcriptions", content_type=FORM)
TRANSLATIONS = UpstreamProtocol("transcriptions", "/audio/translations", content_type=FORM)
