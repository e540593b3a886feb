"""Addresses of the pages of usage, models and reference. The API's are in `proxy.api.urls`."""

from django.urls import path

from proxy import playground, public_views, views

app_name = "proxy"
urlpatterns = [
    path("overview/", views.overview, name="overview"),
    path("usage/", views.usage, name="usage"),
    path("models/", public_views.models, name="models"),
    path("docs/", public_views.reference, name="reference"),
    path("playground/", playground.page, name="playground"),
    path("playground/session/", playground.session, name="playground_session"),
]
