"""A web process that serves one endpoint more."""

from config import asgi, web
from proxy.http.handler import APIHandler

asgi.api = APIHandler("tests.proxy.api.echo.urls")

if __name__ == "__main__":
    web.main()
