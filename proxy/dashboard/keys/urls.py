"""Addresses of the key pages, below /keys/."""

from django.urls import path

from proxy.dashboard.keys import admin_views, log_views
from proxy.dashboard.keys import views as key_views

app_name = "keys"
urlpatterns = [
    path("", key_views.list_keys, name="list"),
    path("create/", key_views.create_key, name="create"),
    path("changes/", log_views.changes_page, name="changes"),
    path("admin/", admin_views.list_keys, name="admin_list"),
    path("admin/create/", admin_views.create_key, name="admin_create"),
    path("admin/<int:key_id>/revoke/", admin_views.revoke_key, name="admin_revoke"),
    path("<int:key_id>/", key_views.key_page, name="detail"),
    path("<int:key_id>/edit/", key_views.edit_key, name="edit"),
    path("<int:key_id>/rotate/", key_views.rotate_key, name="rotate"),
    path("<int:key_id>/revoke/", key_views.revoke_key, name="revoke"),
]
