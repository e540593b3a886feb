"""What people are told about keys in more than one place."""

from datetime import datetime

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.shared.formats import datetime_text


def no_new_keys_text(until: datetime) -> str:
    return _(
        "The mobile number of this account was changed a short time ago. For your safety, no new "
        "key is given out before %(until)s; the keys you have keep working."
    ) % {"until": datetime_text(until, language=get_language())}
