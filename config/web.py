"""Runs the web process: `python -m config.web [--host H] [--port P]`. Uvicorn, with a limit on request heads.

Ends with status 0 on SIGTERM and SIGINT, once what was being answered has been answered or has been told.
"""

import argparse
import os
import signal

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Request line and headers together. The parser itself has no limit: one endless header would fill the memory.
HEAD_MAX_BYTES = 64 * 1024
TOO_LARGE = orjson.dumps(
    {
        "error": {
            "message": "The request's headers are too large.",
            "type": "invalid_request_error",
            "param": None,
            "code": "headers_too_large",
        }
    }
)


class LimitedProtocol(HttpToolsProtocol):
    """Ends a connection that sends HEAD_MAX_BYTES without a byte of body: in a head (431), trailers, chunk lines."""

    _in_head = False
    _idle_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            if self._in_head:
                head = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
                self.transport.write(
                    f"{head}content-length: {len(TOO_LARGE)}\r\nconnection: close\r\n\r\n".encode()
                )
                self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()
        # Asked to close, a transport first waits for a reader who may never read on.
        self.scope["hamiran.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        self._in_head, self._idle_bytes = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._idle_bytes = 0
        super().on_message_complete()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.conf import settings

    parser = argparse.ArgumentParser(prog="python -m config.web", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=settings.PORT)
    options = parser.parse_args()
    # Uvicorn raises the signal that ended it once more when it is done; having ended in order is no failure.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda _signal, _frame: None)
    server = uvicorn.Server(
        uvicorn.Config(
            "config.asgi:application",
            host=options.host,
            port=options.port,
            loop="uvloop",
            http=LimitedProtocol,
            lifespan="on",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.SHUTDOWN_GRACE_SECONDS,
        )
    )
    server.run()
    if not server.started:
        raise SystemExit(3)


if __name__ == "__main__":
    main()
