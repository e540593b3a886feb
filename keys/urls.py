"""Addresses of the key pages, below /keys/."""

from django.urls import path

from keys import views

app_name = "keys"
urlpatterns = [
    path("", views.list_keys, name="list"),
    path("create/", views.create_key, name="create"),
    path("<int:key_id>/revoke/", views.revoke_key, name="revoke"),
]
