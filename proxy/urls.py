"""Addresses of the pages of usage, models and reference. The API's are in `proxy.api.urls`."""

from django.urls import path

from proxy.dashboard import kept_answers, models_page, playground
from proxy.dashboard.connect.views import connect
from proxy.dashboard.docs.views import billing, reference
from proxy.dashboard.overview import overview
from proxy.dashboard.status.views import status
from proxy.usage import views as usage_views

app_name = "proxy"
urlpatterns = [
    path("overview/", overview, name="overview"),
    path("usage/", usage_views.usage, name="usage"),
    path("usage/requests/", usage_views.log, name="log"),
    path("usage/requests.csv", usage_views.log_csv, name="log_csv"),
    path("usage/end-users/", usage_views.end_users, name="end_users"),
    path("usage/end-users.csv", usage_views.end_users_csv, name="end_users_csv"),
    path("usage/<slug:request_id>/", usage_views.one_request, name="request"),
    path("models/", models_page.models, name="models"),
    path("status/", status, name="status"),
    path("connect/", connect, name="connect"),
    path("docs/", reference, name="reference"),
    path("docs/billing/", billing, name="billing"),
    path("settings/kept-answers/keep/", kept_answers.keep, name="keep_answers"),
    path("settings/kept-answers/stop/", kept_answers.stop, name="stop_keeping_answers"),
    path("settings/kept-answers/delete/", kept_answers.delete, name="delete_kept_answers"),
    path("playground/", playground.page, name="playground"),
    path("playground/session/", playground.session, name="playground_session"),
    path("playground/<slug:endpoint>/", playground.trial, name="playground_trial"),
]
