"""Documents that a process keeps, so that whoever asks for them in a loop costs no query a request."""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson
from django.db import connection

from proxy.http.etags import etag_of

logger = logging.getLogger(__name__)

Name = TypeVar("Name", bound=Hashable)
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Document:
    content: bytes
    etag: str


class Kept(Generic[Name]):
    """Documents by name, each made anew when it is asked for and older than `seconds`: one at a time.

    While one is made, and where that fails, the one before is given, if there is any. For one event loop.
    """

    def __init__(
        self, make: Callable[[Name], Awaitable[object]], *, seconds: float, max_documents: int = 256
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._max_documents = max_documents
        self._documents: OrderedDict[Name, tuple[float, Document]] = OrderedDict()
        self._turn = asyncio.Lock()

    async def get(self, name: Name) -> Document:
        """Raises what `make` raises, where there is no document yet."""
        until, document = self._documents.get(name, (0.0, None))
        if document is not None and (time.monotonic() < until or self._turn.locked()):
            return document
        async with self._turn:
            until, document = self._documents.get(name, (0.0, None))
            if document is not None and time.monotonic() < until:
                return document
            try:
                content = orjson.dumps(await self._make(name))
            except Exception:
                if document is None:
                    raise
                logger.exception("a public document could not be made anew")
                return document
            return self._keep(name, Document(content, etag_of(content)))

    def _keep(self, name: Name, document: Document) -> Document:
        self._documents[name] = time.monotonic() + self._seconds, document
        self._documents.move_to_end(name)
        if len(self._documents) > self._max_documents:
            self._documents.popitem(last=False)
        return document


async def from_database(read: Callable[[], Found]) -> Found:
    """What `read` finds, in a thread whose connection is closed afterwards: nobody else would do that."""

    def apart() -> Found:
        with contextlib.closing(connection):
            return read()

    return await asyncio.to_thread(apart)
