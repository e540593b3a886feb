"""What every page's template can name."""

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, object]:
    return {"sandbox": settings.SANDBOX, "base_url": settings.BASE_URL}
