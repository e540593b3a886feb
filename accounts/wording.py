"""What the sign-in pages say when a step does not succeed: what happened and what to do next."""

from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from accounts import challenges, sign_in
from accounts.shared import formats


def refusal(error: challenges.Refused) -> str:
    wait = {"wait": _wait(error.wait_seconds)}
    if isinstance(error, challenges.TooSoon):
        return _("A code was sent to this number a moment ago. You can ask for another in %(wait)s.") % wait
    if isinstance(error, challenges.TooMany):
        return _("Too many codes were asked for. You can ask for another in %(wait)s.") % wait
    if isinstance(error, challenges.TooManyNearby):
        return (
            _(
                "Too many new sign-ins came from your network or for numbers like yours. Try again in %(wait)s, "
                "or in a browser where you have signed in before."
            )
            % wait
        )
    return _("Too many people are signing in right now. Please try again in %(wait)s.") % wait


def send_failed(error: sign_in.SendFailed) -> str:
    return _("The SMS could not be sent. Please try again in %(wait)s.") % {"wait": _wait(error.wait_seconds)}


def wrong_code(error: sign_in.WrongCode) -> str:
    if not error.tries_remaining:
        if error.max_tries == challenges.MAX_TRIES:
            return _("The code was wrong five times. Ask for a new one below.")
        return _("The code was wrong three times. Ask for a new one below.")
    text = ngettext(
        "This code is not right. You have %(count)s try left.",
        "This code is not right. You have %(count)s tries left.",
        error.tries_remaining,
    )
    return text % {"count": _number(error.tries_remaining)}


def _wait(seconds: int) -> str:
    if seconds < 120:
        return ngettext("%(count)s second", "%(count)s seconds", seconds) % {"count": _number(seconds)}
    minutes = -(-seconds // 60)
    if minutes < 120:
        return ngettext("%(count)s minute", "%(count)s minutes", minutes) % {"count": _number(minutes)}
    hours = -(-minutes // 60)
    return ngettext("%(count)s hour", "%(count)s hours", hours) % {"count": _number(hours)}


def _number(count: int) -> str:
    return formats.number_text(count, language=get_language())
