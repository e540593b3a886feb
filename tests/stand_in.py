"""A server on loopback that stands in for a provider's: what all of them have in common."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StandIn:
    """Serves from the moment it is made until `close`, at `url`. An answer that hangs waits for `released`."""

    def __init__(self) -> None:
        self.released = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stand_in.serve(self, self.rfile.read(int(self.headers["content-length"])))

            def do_GET(self) -> None:
                stand_in.show(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answers a POST."""
        raise NotImplementedError

    def show(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers a GET, where browsers come by."""
        handler.send_error(405)

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
