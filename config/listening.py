"""The address that the web processes listen on, and how they take connections from it."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

logger = logging.getLogger(__name__)

ACCEPTED_AT_ONCE = 64
# When there is no descriptor left for a connection, it stays in the queue until some have been given back.
PAUSE_SECONDS = 0.5
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, for web processes to share; connections are refused until one of them listens.

    Raises OSError.
    """
    family, kind, proto, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, proto)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


class Acceptor:
    """Takes all connections that wait, whenever there are any.

    The event loop's own server takes about one a turn: with a thousand streams, whose turns are long, a new
    connection waited for tens of seconds. `listening` stays its owner's to close.
    """

    def __init__(
        self, listening: socket.socket, connection: Callable[[], asyncio.Protocol], *, backlog: int
    ) -> None:
        self._listening = listening
        self._connection = connection
        self._backlog = backlog
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        listening.listen(backlog)
        self._resume()

    @property
    def is_beginning(self) -> bool:
        """Whether a connection was taken that its protocol has not been told of yet."""
        return bool(self._beginning)

    def close(self) -> None:
        """Takes the connections that wait now, and no more: a socket's last owner, closing it, resets those in it."""
        if self._pause is None:
            self._accept(at_most=self._backlog)
        self._loop.remove_reader(self._listening)
        if self._pause is not None:
            self._pause.cancel()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self, at_most: int = ACCEPTED_AT_ONCE) -> None:
        for _ in range(at_most):
            try:
                accepted, _address = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return  # another process took it, or its client went away
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                logger.exception("no connection can be accepted for now")
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(PAUSE_SECONDS, self._resume)
                return
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task: asyncio.Task[object] = self._loop.create_task(
                self._loop.connect_accepted_socket(self._connection, accepted)
            )
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)
