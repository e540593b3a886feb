"""Addresses of the usage pages. The API's are in `proxy.api.urls`."""

from django.urls import path

from proxy import usage_views, views

app_name = "proxy"
urlpatterns = [
    path("overview/", views.overview, name="overview"),
    path("usage/", usage_views.usage, name="usage"),
    path("usage/requests/", usage_views.log, name="log"),
    path("usage/requests.csv", usage_views.log_csv, name="log_csv"),
    path("usage/<slug:request_id>/", usage_views.one_request, name="request"),
]
