"""Addresses of the lean door (config.asgi): the API, and what load balancers ask."""

from django.urls import path

from proxy.api import views

urlpatterns = [
    path("v1/chat/completions", views.ChatCompletions.as_view()),
    path("v1/models", views.Models.as_view()),
    path("v1/models/<path:model_id>", views.Model.as_view()),
    path("v1/openapi.json", views.OpenAPI.as_view()),
    path("metrics", views.Metrics.as_view()),
    path("healthz", views.Healthz.as_view()),
    path("readyz", views.Readyz.as_view()),
]
