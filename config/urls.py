"""Addresses of the pages. The API has its own, `proxy.api.urls`, behind its own door in `config.asgi`."""

from django.contrib import admin
from django.urls import include, path

from config import views
from config.pages import front

handler400 = views.bad_request
handler404 = views.not_found
handler500 = views.server_error
urlpatterns = [
    path("", front.page, name="front"),
    path("language/", views.set_language, name="set_language"),
    path("theme/", views.set_theme, name="set_theme"),
    path("admin/", admin.site.urls),
    path("", include("accounts.urls")),
    path("keys/", include("proxy.dashboard.keys.urls")),
    path("projects/", include("proxy.dashboard.projects.urls")),
    path("wallet/", include("wallet.urls")),
    path("", include("proxy.urls")),
]
