"""Upstreams' words without what they tell of the operator: keys, accounts, projects, addresses, model names. Pure."""

import re
from collections.abc import Iterable

REDACTED = "[redacted]"
MAX_CHARACTERS = 2_000  # nobody reads more, and the patterns below stay quick

QUOTED = re.compile(r"""(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|`[^`\n]*`|\b[a-z]{2,8}://\S+""")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
# Sentences about the operator's dealings with the upstream. What stands in quotes comes from the request.
ACCOUNT = re.compile(
    r"\bbilling\b|\bupgrad|\byour (?:current )?plan\b|\bplans (?:&|and) |\bcredits?\b|\bcredit balance|\bquotas?\b"
    r"|\bapi[ _-]?keys?\b|\bdashboard\b|\bconsole\b|\bhelp cent|\bcontact (?:us|sales|support|your)\b"
    r"|\baccounts?\b|\binvoices?\b|\bpayments?\b|\bsubscriptions?\b|\b(?:tokens|requests) per (?:min|day|hour)"
    r"|\b(?:organi[sz]ation|project|workspace|team)\b[^.]{0,80}\b(?:disabled|blocked|restricted|verified|access|permission)"
    r"|\b(?:location|country|region)\b[^.]{0,40} not supported|\bterminated\b"
    r"|\bservice tier\b|\bplease go to\b|\byour keys?\b|\bvisit\b|\blearn more\b|\bmore information\b",
    re.IGNORECASE,
)
# What gateways put around their providers' words.
WRAPPING = re.compile(
    r"\blitellm\.|\berror from provider(?: \([^)]{0,60}\))?:?\s*|\b\w{0,40}(?:Error|Exception)(?::|\s-)\s*"
    r"|\s*\b(?:received|available) model group\b.*"
    r"|\s*\b(?:context_window_)?fallbacks=.*|\s*\blitellm retried\b.*",
    re.IGNORECASE,
)

_NAME = r"[\w./:@-]{1,100}"
_NO_NAME = (
    r"(?:does|do|did|has|have|had|is|was|are|were|in|on|at|with|without|and|or|that|this|to|of|for|by|from|ids?|names?"
    r"|not|no|can|cannot|may|must|should|will|which|who|you|your|the|a|an|as|but|if|level|limits?|settings?|page)\b"
)
NAMES = re.compile(
    "|".join(
        (
            r"\b[a-z]{2,8}://[^\s'\"`<>]{1,500}(?<![.,;:!?)\]}])",
            r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}",
            # Keys: by their prefix, or by the stars in them.
            r"\b(?:sk|pk|rk|gsk|xai|hf|nvapi|pplx|csk|tgp|fw|r8|ak)[-_][\w*.\u2026-]{3,200}(?<!\.)",
            r"\bAIza[\w-]{10,100}",
            r"\beyJ[\w.-]{20,1000}",
            r"\bBearer\s+[^\s'\"`]{4,500}",
            r"[\w-]{0,60}\*{3,100}[\w*-]{0,60}|\bending (?:in|with)\s+[\w-]{2,20}",
            r"\b\w{2,60}(?:\.{3}|\u2026)\w{2,60}\b",
            # Ids.
            r"\b(?:org|proj|prj)[-_][\w-]{1,80}",
            r"\b(?:user|acct|req|team|ws|wrk)[-_](?=(?-i:[\w-]*[0-9A-Z]))[\w-]{4,80}",
            r"\brequest[ _-]?id\W{1,3}[\w-]{4,80}",
            r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
            r"\barn:[\w:/.-]{4,200}",
            r"\b(?:projects|organizations|folders|accounts|locations|publishers|deployments|workspaces|subscriptions"
            r"|tenants|endpoints)/[^\s'\"`,;)]{1,300}",
            r"\bproject_number:\w{1,40}",
            r"(?<![\w.])[0-9]{10,40}(?![\w.])",
            # Addresses.
            r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?(?![\w.])",
            r"\[[0-9a-fA-F:]{2,45}\](?::[0-9]{1,5})?|(?<![\w:])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{1,4}(?![\w:])",
            r"\blocalhost(?::[0-9]{1,5})?\b",
            r"\b(?:[a-z0-9-]{1,63}\.){1,6}(?:com|ai|io|net|org|dev|app|cloud|local|internal|lan|ir|cn|eu|co|uk|de"
            r"|fr|ru|xyz|tech|example|test)\b(?::[0-9]{1,5})?(?:/[^\s'\"`<>,;)]{0,300})?",
        )
    ),
    re.IGNORECASE,
)
# "Project acme", "organization `acme`", "deployment: acme-4": the word stays, the name goes.
CALLED = re.compile(
    r"\b(organi[sz]ation|org|project|workspace|team|tenant|subscription|deployment|account)"
    r"((?:\s+(?:ids?|name|number))?(?:\s*[:=#(]\s*|\s+))"
    rf"(?:([`'\"])[^'`\"\n]{{1,100}}\3|(?!{_NO_NAME}){_NAME}(?<![.,:]))",
    re.IGNORECASE,
)


def bounded(text: str) -> str:
    """The beginning of a text, without lone surrogates, which no answer could carry."""
    return text[:MAX_CHARACTERS].encode(errors="replace").decode()


def without_account(text: str) -> str:
    """Without the sentences about the operator's dealings with the upstream; empty if there are no others."""
    sentences = (sentence.strip() for sentence in SENTENCE_END.split(bounded(text)))
    return " ".join(
        sentence for sentence in sentences if sentence and not ACCOUNT.search(QUOTED.sub("", sentence))
    )


def redacted(text: str, *, key: str, hosts: Iterable[str], model: str) -> str:
    """The part of an upstream's words that a customer may read.

    `hosts`: those in its address, with and without a port. `model`: its name there.
    """
    text = WRAPPING.sub("", bounded(text))
    for secret in filter(None, (key, *hosts)):
        whole = re.escape(secret) if len(secret) > 8 else rf"(?<!\w){re.escape(secret)}(?!\w)"
        text = re.sub(whole, REDACTED, text, flags=re.IGNORECASE)
    text = _without_model(text, model)
    text = _without_pieces(without_account(text), key)
    return CALLED.sub(rf"\1\2{REDACTED}", NAMES.sub(REDACTED, text)).strip()


def _without_model(text: str, model: str) -> str:
    for name in sorted({model, model.rpartition("/")[2]}, key=len, reverse=True):
        if len(name) > 2 and name.lower() != "model":
            text = re.sub(
                rf"(?:\b((?:the|this)\s+)?model\s+)?[`'\"]?(?<![\w-])(?:[\w.-]{{1,60}}/)?{re.escape(name)}(?![\w-])[`'\"]?",
                lambda found: f"{found[1] or 'the '}model",
                text,
                flags=re.IGNORECASE,
            )
    return text


def _without_pieces(text: str, key: str) -> str:
    return re.sub(
        r"[\w-]{6,}", lambda found: REDACTED if len(key) > 8 and found[0] in key else found[0], text
    )
