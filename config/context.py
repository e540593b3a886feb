"""What every page's template can name."""

from django.conf import settings
from django.http import HttpRequest

from accounts import sms


def site(request: HttpRequest) -> dict[str, object]:
    return {"sandbox": settings.SANDBOX, "sms_is_console": sms.is_console(), "base_url": settings.BASE_URL}
