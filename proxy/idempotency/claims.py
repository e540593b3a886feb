"""Which request an Idempotency-Key stands for, and what becomes of a repeat of it.

A request claims its key once its hold is in the wallet. From then on the ledger alone says how it stands, and no kill
can come between: while its hold is open it runs; once there is a usage record that bills it, that is final; in any
other case it cost nothing and never will, so that the next one takes the key over, unless another was quicker.

An open hold whose process has stopped renewing its claim is voided first. Were that process alive all the same, one of
both would find the hold resolved: nothing is charged twice.
"""

import asyncio
import contextlib
import logging
import math
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

from proxy.errors import APIError, wait_headers
from proxy.idempotency import answers, digests
from proxy.idempotency.answers import Recording
from wallet.ledger.holds import Holds

logger = logging.getLogger(__name__)

LIFE_HOURS = 24
CLOCKS_APART = timedelta(days=1)  # those of two servers of PostgreSQL, at most
ALIVE_SECONDS = 10  # of a process that has said nothing
RENEW_SECONDS = 3.0
STATEMENT_SECONDS = 5.0
KEY_MAX_CHARACTERS = 255
HEADER = "Idempotency-Key"

Connect = Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]]

LOOK_UP = f"""
SELECT claim.request_id, claim.body_digest, extract(epoch FROM claim.alive_until - now())::float8,
    claim.claimed_at, claim.claimed_at <= now() - interval '{LIFE_HOURS} hours', hold.wallet_id, keeping.hours,
    kept.content
FROM (VALUES (%(user_id)s::bigint)) AS asking (user_id)
LEFT JOIN proxy_answerkeeping keeping ON keeping.user_id = asking.user_id
LEFT JOIN proxy_idempotentrequest claim ON claim.user_id = asking.user_id AND claim.key_digest = %(key_digest)s
LEFT JOIN wallet_hold hold ON hold.id = claim.request_id
LEFT JOIN proxy_keptanswer kept ON kept.request_id = claim.request_id AND kept.user_id = asking.user_id
    AND kept.expires_at > now() AND keeping.user_id IS NOT NULL
"""  # noqa: S608 - a number of ours
# Asked for after the hold, since whatever deletes that writes this. By the time it is sought in few months only.
RECORD = """
SELECT cost_micro, model FROM proxy_usagerecord
WHERE id = %(request_id)s AND billed_by <> 'nothing' AND created_at >= %(since)s
"""

TAKE = f"""
INSERT INTO proxy_idempotentrequest AS claim
    (user_id, key_digest, body_digest, request_id, claimed_at, alive_until)
VALUES (%(user_id)s, %(key_digest)s, %(body_digest)s, %(request_id)s, now(), now() + interval '{ALIVE_SECONDS} seconds')
ON CONFLICT (user_id, key_digest) DO UPDATE SET body_digest = excluded.body_digest, request_id = excluded.request_id,
    claimed_at = excluded.claimed_at, alive_until = excluded.alive_until
WHERE claim.request_id = %(seen)s
RETURNING claim.id
"""  # noqa: S608 - a number of ours

RENEW = f"""
UPDATE proxy_idempotentrequest claim SET alive_until = now() + interval '{ALIVE_SECONDS} seconds'
FROM unnest(%s::bigint[], %s::uuid[]) AS mine (id, request_id)
WHERE claim.id = mine.id AND claim.request_id = mine.request_id
"""  # noqa: S608 - a number of ours


class Repeated(Exception):
    """The request `request_id` was answered and charged before; None: its answer was not `kept`, or no longer."""

    def __init__(
        self, request_id: uuid.UUID, *, model: str, cost_micro: int, kept: answers.Kept | None
    ) -> None:
        super().__init__(request_id)
        self.request_id, self.model, self.cost_micro, self.kept = request_id, model, cost_micro, kept


@dataclass(frozen=True, slots=True)
class _Found:
    request_id: uuid.UUID | None  # None: nobody has used this key
    body_digest: bytes
    alive_seconds: float
    claimed_at: datetime | None
    is_past: bool
    held_in: int | None  # the wallet, while its hold is open
    keep_hours: int | None
    content: bytes | None
    cost_micro: int | None = None  # None: it was not billed
    model: str | None = None

    @property
    def is_free(self) -> bool:
        return self.request_id is None or self.is_past or (self.held_in is None and self.cost_micro is None)


def key_in(headers: list[str]) -> str | None:
    """The Idempotency-Key of a request. Raises APIError invalid_value."""
    if not headers:
        return None
    key = headers[0]
    if (
        len(headers) > 1
        or not 0 < len(key) <= KEY_MAX_CHARACTERS
        or not (key.isascii() and key.isprintable())
    ):
        raise APIError(
            "invalid_value",
            param=HEADER,
            message=f"{HEADER} must be one header of 1 to {KEY_MAX_CHARACTERS} printable ASCII characters.",
        )
    return key


class Claim:
    """Of a request that may run: its key, to be taken once its money is held, and its answer where that is kept."""

    def __init__(
        self,
        claims: "Claims",
        *,
        user_id: int,
        key_digest: bytes,
        body_digest: bytes,
        seen: uuid.UUID | None,
        recording: Recording | None,
    ) -> None:
        self._claims = claims
        self._row = {"user_id": user_id, "key_digest": key_digest, "body_digest": body_digest, "seen": seen}
        self._request_id: uuid.UUID | None = None
        self.recording = recording

    async def take(self, request_id: uuid.UUID) -> None:
        """Raises APIError request_in_progress where another was quicker; TimeoutError, and what psycopg raises."""
        row_id = await self._claims.take({**self._row, "request_id": request_id})
        if row_id is None:
            raise _in_progress(1)
        self._request_id = request_id
        self._claims.running[request_id] = row_id

    def end(self) -> None:
        """Its hold has been settled."""
        if self._request_id is not None:
            self._claims.running.pop(self._request_id, None)
        if self.recording is not None:
            self.recording.drop()


class Claims:
    """Those of one process: what it serves is renewed for as long as it runs."""

    def __init__(self, connect: Connect, holds: Holds) -> None:
        self._connect, self._holds = connect, holds
        self.running: dict[uuid.UUID, int] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def look_up(
        self, idempotency_key: str, *, user_id: int, holder: tuple[int, ...] = (), body_digest: bytes
    ) -> Claim:
        """What a request needs to claim its key. `holder` as in `digests.of_key`.

        Raises Repeated; APIError request_in_progress, idempotency_mismatch; TimeoutError, and what psycopg raises.
        """
        key_digest = digests.of_key(idempotency_key, user_id=user_id, holder=holder)
        found = await self._found(user_id, key_digest)
        if (
            not found.is_free
            and found.body_digest == body_digest
            and found.held_in
            and found.alive_seconds <= 0
        ):
            assert found.request_id is not None
            logger.warning("a request's process is dead", extra={"request": found.request_id})
            await self._holds.settle(hold_id=found.request_id, wallet_id=found.held_in, cost_micro=0)
            found = await self._found(user_id, key_digest)
        if not found.is_free:
            self._refuse(found, body_digest, user_id=user_id)
        return Claim(
            self,
            user_id=user_id,
            key_digest=key_digest,
            body_digest=body_digest,
            seen=found.request_id,
            recording=None if found.keep_hours is None else Recording(self._connect, user_id=user_id),
        )

    def _refuse(self, found: _Found, body_digest: bytes, *, user_id: int) -> None:
        assert found.request_id is not None
        if found.body_digest != body_digest:
            raise APIError("idempotency_mismatch", param=HEADER)
        if found.cost_micro is None:
            raise _in_progress(max(1, math.ceil(found.alive_seconds)))
        kept = answers.read(found.content, request_id=found.request_id, user_id=user_id)
        assert found.model is not None, "it stands beside the cost"
        raise Repeated(found.request_id, model=found.model, cost_micro=found.cost_micro, kept=kept)

    async def _found(self, user_id: int, key_digest: bytes) -> _Found:
        async with asyncio.timeout(STATEMENT_SECONDS), self._connect() as connection:
            cursor = await connection.execute(LOOK_UP, {"user_id": user_id, "key_digest": key_digest})
            row = await cursor.fetchone()
            assert row is not None
            found = _Found(*row)
            if found.claimed_at is None or found.is_past or found.held_in is not None:
                return found
            asked = {"request_id": found.request_id, "since": found.claimed_at - CLOCKS_APART}
            record = await (await connection.execute(RECORD, asked)).fetchone()
        return found if record is None else replace(found, cost_micro=record[0], model=record[1])

    async def take(self, row: dict[str, Any]) -> int | None:
        async with asyncio.timeout(STATEMENT_SECONDS), self._connect() as connection:
            cursor = await connection.execute(TAKE, row)
            taken = await cursor.fetchone()
        if taken is None:
            return None
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(), name="idempotency")
        return int(taken[0])

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if not self.running:
                continue
            try:
                async with asyncio.timeout(STATEMENT_SECONDS), self._connect() as connection:
                    await connection.execute(RENEW, [list(self.running.values()), list(self.running)])
            except (psycopg.Error, TimeoutError, OSError) as error:
                logger.warning("claims not renewed", extra={"error": repr(error)})


def _in_progress(seconds: int) -> APIError:
    return APIError("request_in_progress", headers=wait_headers(seconds))
