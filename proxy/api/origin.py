"""What a request says of where it comes from: which field of which protocol, and which of several counts."""

import re
from collections.abc import Callable, Mapping

import msgspec

from proxy.errors import APIError
from proxy.http.forms import Form
from proxy.http.parsing import Fields
from proxy.http.request import APIRequest
from proxy.usage.origins import CLIENT_REQUEST_ID_MAX, Origin, end_user

CLIENT_REQUEST_ID = "X-Client-Request-Id"
# The end user, in the order in which they count: OpenAI's two, Anthropic's, then the session of an agent.
NAMES = ("safety_identifier", "user")
METADATA = "metadata"
SESSION_HEADER = b"x-claude-code-session-id"
# Of Claude Code, in `metadata.user_id`: a new session is no new user.
COMPOSED = re.compile(r"user_(?P<device>[^_]*)_account_(?P<account>[^_]*)_session_(?P<session>.*)")
COMPOSED_MAX = 2_048


class _Metadata(msgspec.Struct):
    user_id: str = ""


class _ClaudeCode(msgspec.Struct):
    account_uuid: str = ""
    device_id: str = ""
    session_id: str = ""


_read_text = msgspec.json.Decoder(str | None).decode
_read_metadata = msgspec.json.Decoder(_Metadata | None).decode
_read_claude_code = msgspec.json.Decoder(_ClaudeCode).decode
FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def of(request: APIRequest, *, named: str) -> Origin:
    """`named`: the end user, as the body does. Raises APIError invalid_value."""
    name = named or request.header(SESSION_HEADER)
    user = end_user(name, user_id=request.key.user_id) if name else None
    return Origin(_client_request_id(request), user)


def named_in_fields(fields: Fields) -> str:
    """The end user that a JSON body names; empty where it names none. What is no text names nobody."""
    for name in NAMES:
        if name in fields and (text := _text(_read_text, fields[name])):
            return text
    return _metadata(fields[METADATA]) if METADATA in fields else ""


def named_in_form(form: Form) -> str:
    fields: Mapping[str, str] = dict(form.fields)
    return next((text for name in NAMES if (text := fields.get(name, "").strip())), "")


def _text(read: Callable[[msgspec.Raw], str | None], raw: msgspec.Raw) -> str:
    try:
        return (read(raw) or "").strip()
    except FAULTS:
        return ""


def _metadata(raw: msgspec.Raw) -> str:
    try:
        metadata = _read_metadata(raw)
    except FAULTS:
        return ""
    return _person(metadata.user_id.strip()) if metadata else ""


def _person(user_id: str) -> str:
    """Whom an id means that is put together of an account, a device and a session."""
    if len(user_id) > COMPOSED_MAX:
        return user_id
    if found := COMPOSED.fullmatch(user_id):
        return found["account"] or found["device"] or found["session"]
    if user_id.startswith("{"):
        try:
            parts = _read_claude_code(user_id.encode())
        except FAULTS:
            return user_id
        return parts.account_uuid or parts.device_id or parts.session_id or user_id
    return user_id


def _client_request_id(request: APIRequest) -> str:
    given = request.header(CLIENT_REQUEST_ID.lower().encode()).strip()
    if len(given) > CLIENT_REQUEST_ID_MAX or not (given.isascii() and given.isprintable()):
        raise APIError(
            "invalid_value",
            param=CLIENT_REQUEST_ID,
            message=f"{CLIENT_REQUEST_ID} must be at most {CLIENT_REQUEST_ID_MAX} printable ASCII characters.",
        )
    return given
