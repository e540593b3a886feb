"""What every page's template can name."""

from django.conf import settings
from django.http import HttpRequest

from accounts.sms import sending
from config.pages import theme


def payment_sandbox() -> bool:
    """Whether production takes play money, which every page then says."""
    return bool(settings.PAYMENT_SANDBOXES) and not settings.SANDBOX


def site(request: HttpRequest) -> dict[str, object]:
    return {
        "sandbox": settings.SANDBOX,
        "payment_sandbox": payment_sandbox(),
        "sms_is_console": sending.is_console(),
        "base_url": settings.BASE_URL,
    }


def look(request: HttpRequest) -> dict[str, object]:
    chosen = theme.chosen(request)
    following = theme.after(chosen)
    return {
        "theme": chosen,
        "theme_text": theme.THEMES[chosen],
        "next_theme": following,
        "next_theme_text": theme.THEMES[following],
        "themes": theme.THEMES,
    }
