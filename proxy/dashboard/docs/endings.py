"""How a request can end, what that costs, and what a repeat with its Idempotency-Key then gets: one row per ending.

The page shows these rows, and tests/proxy/api/test_endings.py brings each of them about, with answers kept and without.
A change of what a row says is a new version of the rules.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from proxy.idempotency import answers, claims
from proxy.idempotency.models import HOURS_MAX


class Repeat(Enum):
    """What a repeat of the same request gets."""

    ANEW = "anew"
    NAMED = "named"
    REPLAYED = "replayed"
    RUNNING = "running"
    LATER = "later"
    MISMATCH = "mismatch"
    UNAVAILABLE = "unavailable"

    @property
    def words(self) -> Promise:
        return WORDS[self]

    @property
    def code(self) -> str | None:
        """Of the error that tells it."""
        return CODES.get(self)


WORDS = {
    Repeat.ANEW: _("It runs anew, and only it is charged."),
    Repeat.NAMED: _("409, with the first request's id and cost. Nothing is charged."),
    Repeat.REPLAYED: _("The same answer, to the byte. Nothing is charged."),
    Repeat.RUNNING: _("409, with the time to wait in Retry-After."),
    Repeat.LATER: _("409 for at most 10 seconds, with the time to wait in Retry-After; then it runs anew."),
    Repeat.MISMATCH: _("422. Nothing is charged."),
    Repeat.UNAVAILABLE: _("503 until the service is back; then it runs anew."),
}
CODES = {
    Repeat.NAMED: "idempotency_replayed",
    Repeat.RUNNING: "request_in_progress",
    Repeat.LATER: "request_in_progress",
    Repeat.MISMATCH: "idempotency_mismatch",
    Repeat.UNAVAILABLE: "service_unavailable",
}
NOTHING = _("no charge")
WHAT_WAS_USED = _("what was used")
WHAT_ARRIVED = _("what had arrived")


@dataclass(frozen=True, slots=True)
class Rule:
    """`is_charged` is what `charge` says in words."""

    charge: Promise
    repeat: Repeat

    @property
    def is_charged(self) -> bool:
        return self.charge is not NOTHING


@dataclass(frozen=True, slots=True)
class Ending:
    """`kept`: where the account has chosen to have answers kept, and this one is."""

    slug: str
    what: Promise
    plain: Rule
    kept: Rule


def _both(slug: str, what: Promise, charge: Promise, repeat: Repeat) -> Ending:
    rule = Rule(charge, repeat)
    return Ending(slug, what, rule, rule)


def _charged(slug: str, what: Promise, charge: Promise) -> Ending:
    return Ending(slug, what, Rule(charge, Repeat.NAMED), Rule(charge, Repeat.REPLAYED))


ENDINGS = (
    _charged("whole", _("The answer arrived in full, at once or as a stream."), WHAT_WAS_USED),
    _both("running", _("The first request is still running."), NOTHING, Repeat.RUNNING),
    _both(
        "another-body",
        _("The repeat has another body or goes to another endpoint than the first one, which was charged."),
        WHAT_WAS_USED,
        Repeat.MISMATCH,
    ),
    Ending(
        "left-before",
        _("You left before the first word of a stream."),
        Rule(NOTHING, Repeat.ANEW),
        Rule(WHAT_WAS_USED, Repeat.REPLAYED),
    ),
    Ending(
        "left",
        _("You left in the middle of a stream."),
        Rule(WHAT_ARRIVED, Repeat.NAMED),
        Rule(WHAT_WAS_USED, Repeat.REPLAYED),
    ),
    _charged(
        "left-undrained",
        _("You left a stream of a model that cannot be stopped: it is read to its end."),
        WHAT_WAS_USED,
    ),
    _charged("left-whole", _("You left while you waited for a whole answer: it is finished."), WHAT_WAS_USED),
    _both("upstream-failed", _("The model's service failed before its first word."), NOTHING, Repeat.ANEW),
    _both(
        "upstream-died", _("The model's service failed in the middle of its answer."), NOTHING, Repeat.ANEW
    ),
    _both("silent", _("The model said nothing for too long."), NOTHING, Repeat.ANEW),
    _charged(
        "out-of-time",
        _("A stream had used up the time that one may take, and was ended with finish_reason: length."),
        WHAT_ARRIVED,
    ),
    _charged(
        "out-of-money",
        _("Your wallet or the key's cap was used up in the middle of a stream, which was ended there."),
        WHAT_ARRIVED,
    ),
    _both(
        "refused",
        _("We refused the request: it was wrong, over a limit or not covered."),
        NOTHING,
        Repeat.ANEW,
    ),
    _both("refused-by-model", _("The model refused the request."), NOTHING, Repeat.ANEW),
    _both(
        "stopped", _("Our server was stopped in order and could not wait for the end."), NOTHING, Repeat.ANEW
    ),
    _both("killed", _("Our server died before the answer was paid for."), NOTHING, Repeat.LATER),
    _charged("killed-after", _("Our server died after the answer was paid for."), WHAT_WAS_USED),
    _both("unavailable", _("Our database could not be reached."), NOTHING, Repeat.UNAVAILABLE),
)


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    valid_from: datetime
    changes: Promise


VERSIONS = (
    Version(1, datetime(2026, 11, 30, tzinfo=UTC), _("The first version of these rules.")),
)  # newest first


def context() -> dict[str, Any]:
    """What the page shows."""
    return {
        "endings": ENDINGS,
        "versions": VERSIONS,
        "version": VERSIONS[0],
        "header": claims.HEADER,
        "key_max_characters": claims.KEY_MAX_CHARACTERS,
        "claim_hours": claims.LIFE_HOURS,
        "keep_hours_max": HOURS_MAX,
        "answer_max_megabytes": answers.ANSWER_MAX_BYTES // 2**20,
        "account_max_megabytes": settings.KEPT_ANSWERS_MAX_MB,
    }
