"""What to do about each error of the API, in English and Persian: told with the error, and on the reference page."""

from contextvars import ContextVar
from functools import cache
from urllib.parse import parse_qsl

from django.conf import settings
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation.trans_real import parse_accept_lang_header

# code: what somebody who meets it can do. Every code of proxy/errors.py has its words here.
ADVICE: dict[str, Promise] = {
    "missing_api_key": _("Send the Authorization header with your key."),
    "invalid_api_key": _(
        "Check the key for missing characters, or create another: a revoked key stays refused."
    ),
    "insufficient_balance": _("Top up your wallet, or ask for a shorter answer with max_tokens."),
    "rate_limit_exceeded": _("Wait as long as Retry-After says."),
    "invalid_json": _("Send one JSON object as the body."),
    "method_not_allowed": _("Use one of the methods in the Allow header."),
    "model_required": _("Name one of the models on sale."),
    "messages_required": _("Send at least one message."),
    "model_not_found": _("Name one of the models on sale."),
    "invalid_messages": _("The param field names the message at fault."),
    "not_found": _("Check the address: the base URL ends with /v1."),
    "upstream_error": _("Try again. Nothing was charged."),
    "internal_error": _("Try again. If it keeps happening, send support the x-request-id."),
    "invalid_value": _("The message and the param field say which field is wrong and what it may be."),
    "input_not_supported": _(
        "Leave out the part named in the param field, or choose a model that accepts it."
    ),
    "context_length_exceeded": _("Shorten the prompt, or choose a model with a longer context."),
    "request_exceeds_limit": _("Shorten the prompt, or ask support for a higher tier."),
    "request_timeout": _("Send the body without long pauses."),
    "request_too_large": _("Send less in one request."),
    "unsupported_encoding": _("Send the body without Content-Encoding."),
    "wallet_frozen": _("Wait for support: no money is lost meanwhile."),
    "key_limit_reached": _("Raise the key's spending cap, or use another key."),
    "project_limit_reached": _("Ask the project's owner to raise its cap, or use a key outside the project."),
    "model_not_allowed": _("Name a model that the key may use, or allow this one in its settings."),
    "network_not_allowed": _("Call from a network that the key allows, or allow this one in its settings."),
    "service_unavailable": _("Wait as long as Retry-After says, then try again."),
    "admin_key_not_allowed": _("Send an API key, which begins with hm- alone."),
    "admin_key_required": _("Create an admin key in the dashboard, under Keys, and send that."),
    "project_key_not_allowed": _(
        "Use a key of the account outside its projects, or an admin key with usage:read."
    ),
    "insufficient_scope": _("Create an admin key with the scope that the message names."),
    "no_new_keys": _("Wait until the time that the message names; the keys you have keep working."),
    "project_not_found": _("The project's page tells its id."),
    "key_not_found": _("List the keys to see their ids."),
    "key_ended": _("Create a new key: one that has ended never works again."),
    "key_being_replaced": _("Revoke the key that it replaced, or wait until that one ends."),
    "too_many_keys": _("Revoke a key that is no longer used."),
    "precondition_failed": _("Read the key again and repeat the change with its new ETag."),
    "request_in_progress": _("Wait as long as Retry-After says, then send the same request again."),
    "idempotency_replayed": _(
        "Take the answer that you have, or send the request with a new Idempotency-Key and pay for another."
    ),
    "idempotency_mismatch": _("Use a new Idempotency-Key for each new request."),
    "request_not_found": _(
        "Use the id from the header x-request-id. A request that was refused before it reached a model cost nothing "
        "and is not kept."
    ),
    "bad_request": _("Send the request with an HTTP library, not by hand."),
    "daily_limit_exceeded": _(
        "Wait until the time in resets_at, or ask support for a higher limit. Trying again before that cannot help."
    ),
    "headers_too_large": _("Send long values in the body instead."),
}

LANGUAGES = ("en", "fa")  # the first where none is asked for

# What the request of this context says of its language, raw: nearly no request is ever told of an error.
_asked: ContextVar[tuple[str, bytes]] = ContextVar("asked_language", default=("", b""))


def hear(accept_language: str, query: bytes) -> None:
    """Notes how errors of the request that this context runs are to be told. Connections' contexts are shared, so
    each request says it anew."""
    _asked.set((accept_language, query))


def told(code: str) -> dict[str, str]:
    """The members of an error that say what to do, in the language that the request has asked for."""
    accept_language, query = _asked.get()
    language = asked_language(accept_language, query.decode("latin-1"))
    return {"solution": _solution(code, language), "docs": f"{settings.BASE_URL}/docs/#{anchor(code)}"}


def anchor(code: str) -> str:
    """The id of an error's place on the reference page."""
    return f"error-{code}"


def asked_language(accept_language: str, query: str) -> str:
    """`lang` in the query, else the one of LANGUAGES that Accept-Language likes best (RFC 9110 12.5.4)."""
    chosen = dict(parse_qsl(query)).get("lang", "").lower().partition("-")[0]
    if chosen in LANGUAGES:
        return chosen
    liked = [(tag.partition("-")[0], quality) for tag, quality in parse_accept_lang_header(accept_language)]
    named = {tag for tag, _quality in liked}
    for tag, quality in liked:
        if quality and tag in LANGUAGES:
            return tag
        others = [language for language in LANGUAGES if language not in named]
        if quality and tag == "*" and others:
            return others[0]
    return LANGUAGES[0]


@cache
def _solution(code: str, language: str) -> str:
    with translation.override(language):
        return str(ADVICE[code])
