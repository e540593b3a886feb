"""Addresses of the usage pages. The API's are in `proxy.api.urls`."""

from django.urls import path

from proxy import views

app_name = "proxy"
urlpatterns = [
    path("overview/", views.overview, name="overview"),
    path("usage/", views.usage, name="usage"),
]
