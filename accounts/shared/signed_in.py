"""Who asks, in views that only signed-in people reach."""

from django.http import HttpRequest


def user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None, "login_required stands before the view"
    return int(request.user.pk)
