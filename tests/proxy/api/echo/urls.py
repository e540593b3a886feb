"""The API's addresses, and one more."""

from django.urls import path

from proxy.api.urls import urlpatterns as of_the_api
from tests.proxy.api.echo.view import Echo

urlpatterns = [path("v1/echo", Echo.as_view()), *of_the_api]
