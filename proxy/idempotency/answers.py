"""Answers that are kept for repeats: collected as they leave, written before they are paid for."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
import psycopg
from django.conf import settings

from accounts.shared import database_session
from proxy.idempotency import sealing

logger = logging.getLogger(__name__)

ANSWER_MAX_BYTES = 8 * 1024 * 1024
COLLECTED_MAX_BYTES = 128 * 1024 * 1024  # of all that one process collects at once
ROW_BYTES = 4096  # what the smallest answer counts
KEEP_SECONDS = 15  # after which an answer is paid for and delivered all the same
AGAIN_SECONDS = 0.25

# The account may choose otherwise at the same moment: who deletes its choice waits for this, and deletes then.
KEEP = """
WITH chosen AS (SELECT hours FROM proxy_answerkeeping WHERE user_id = %(user_id)s FOR KEY SHARE)
INSERT INTO proxy_keptanswer (request_id, user_id, kept_at, expires_at, size, content)
SELECT %(request_id)s, %(user_id)s, now(), now() + hours * interval '1 hour', %(size)s, %(content)s FROM chosen
WHERE %(size)s + (
    SELECT coalesce(sum(size), 0) FROM proxy_keptanswer WHERE user_id = %(user_id)s AND expires_at > now()
) <= %(account_max)s
ON CONFLICT (request_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it left: the headers that belong to it, and its body."""

    headers: Mapping[str, str]
    body: bytes


def read(content: bytes | None, *, request_id: uuid.UUID, user_id: int) -> Kept | None:
    """None where nothing was kept that can be read."""
    if content is None:
        return None
    try:
        answer = sealing.unseal(content, request_id=request_id, user_id=user_id)
    except sealing.Unreadable:
        logger.exception("a kept answer cannot be read", extra={"request": request_id})
        return None
    head, _line, body = answer.partition(b"\n")
    return Kept(orjson.loads(head), body)


class Recording:
    """What leaves of one answer, up to ANSWER_MAX_BYTES. `headers` is asked when the answer is kept."""

    collected_bytes: ClassVar[int] = 0  # of all answers that this process collects now

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]],
        *,
        user_id: int,
    ) -> None:
        self._connect, self._user_id = connect, user_id
        self._parts: list[bytes] | None = []
        self._length = 0
        self.headers: Callable[[], dict[str, str]] = dict

    def add(self, data: bytes) -> None:
        if self._parts is None:
            return
        self._parts.append(data)
        self._length += len(data)
        Recording.collected_bytes += len(data)
        if self._length > ANSWER_MAX_BYTES or Recording.collected_bytes > COLLECTED_MAX_BYTES:
            self.drop()

    def drop(self) -> None:
        """Lets go of everything: this answer will not be kept."""
        Recording.collected_bytes -= self._length
        self._parts, self._length = None, 0
        self.headers = dict  # what it asked holds this

    async def keep(self, request_id: uuid.UUID, last: bytes) -> None:
        """Durable on return, unless it is too large or the database is away for too long: an answer waits no longer."""
        self.add(last)
        if self._parts is None:
            logger.warning("an answer is too large to be kept", extra={"request": request_id})
            return
        answer = orjson.dumps(self.headers()) + b"\n" + b"".join(self._parts)
        self.drop()
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                content = await asyncio.to_thread(
                    sealing.seal, answer, request_id=request_id, user_id=self._user_id
                )
                await self._write(request_id, content)
        except Exception:  # the money does not depend on it
            logger.exception("an answer was not kept", extra={"request": request_id})

    async def _write(self, request_id: uuid.UUID, content: bytes) -> None:
        row = {
            "request_id": request_id,
            "user_id": self._user_id,
            "size": max(len(content), ROW_BYTES),
            "content": content,
            "account_max": settings.KEPT_ANSWERS_MAX_MB * 1024 * 1024,
        }
        while True:
            try:
                async with self._connect() as connection:
                    cursor = await connection.execute(KEEP, row)
            except (psycopg.OperationalError, database_session.DEMOTED):
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                break
        if not cursor.rowcount:
            logger.warning("an account's answers are full, or no longer kept", extra={"request": request_id})
