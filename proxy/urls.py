"""Addresses of the pages of usage, models and reference. The API's are in `proxy.api.urls`."""

from django.urls import path

from proxy import playground, public_views, usage_views, views

app_name = "proxy"
urlpatterns = [
    path("overview/", views.overview, name="overview"),
    path("usage/", usage_views.usage, name="usage"),
    path("usage/requests/", usage_views.log, name="log"),
    path("usage/requests.csv", usage_views.log_csv, name="log_csv"),
    path("usage/<slug:request_id>/", usage_views.one_request, name="request"),
    path("models/", public_views.models, name="models"),
    path("docs/", public_views.reference, name="reference"),
    path("playground/", playground.page, name="playground"),
    path("playground/session/", playground.session, name="playground_session"),
]
