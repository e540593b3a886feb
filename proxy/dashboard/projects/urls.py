"""Addresses of the project pages, below /projects/."""

from django.urls import path

from proxy.dashboard.keys.views import create_key
from proxy.dashboard.projects import people_views, views

app_name = "projects"
urlpatterns = [
    path("", views.list_projects, name="list"),
    path("create/", views.create_project, name="create"),
    path("<int:project_id>/", views.project_page, name="detail"),
    path("<int:project_id>/edit/", views.edit_project, name="edit"),
    path("<int:project_id>/close/", views.close_project, name="close"),
    path("<int:project_id>/keys/create/", create_key, name="create_key"),
    path("<int:project_id>/invite/", people_views.invite, name="invite"),
    path("<int:project_id>/accept/", people_views.accept, name="accept"),
    path("<int:project_id>/refuse/", people_views.refuse, name="refuse"),
    path("<int:project_id>/leave/", people_views.leave, name="leave"),
    path("<int:project_id>/members/<int:member_id>/role/", people_views.set_role, name="set_role"),
    path("<int:project_id>/members/<int:member_id>/remove/", people_views.remove, name="remove"),
]
