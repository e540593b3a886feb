"""A web process that serves one endpoint more."""

from config import asgi, web
from proxy.catalogue.endpoints import ENDPOINTS, Endpoint
from proxy.http.handler import APIHandler

ENDPOINTS["echo"] = Endpoint("/v1/echo", ("echo",))
asgi.api = APIHandler("tests.proxy.api.echo.urls")

if __name__ == "__main__":
    web.main()
