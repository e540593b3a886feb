"""One attempt to reach a receiver: one POST, bounded in time, to an address that was checked as it is connected to.

No redirect is followed, and nothing of an answer is kept but its status: whoever enters an address must not learn
through us what answers there.
"""

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from accounts.shared import outbound
from accounts.signals.models import WebhookDelivery

logger = logging.getLogger(__name__)

TOTAL_SECONDS = 10.0
CONNECT_SECONDS = 5.0
ADDRESSES_TRIED = 2
ANSWER_MAX_BYTES = 64 * 1024
Error = WebhookDelivery.Error


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is None where there was no answer; `retry_after` is that header."""

    error: str = ""
    status: int | None = None
    retry_after: str = ""


async def post(url: str, *, body: bytes, headers: Mapping[str, str], allowed_hosts: frozenset[str]) -> Answer:
    """The answer, or what kept it away; over after TOTAL_SECONDS, whatever the receiver does."""
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            return await _post(httpx.URL(url), body, headers, allowed_hosts)
    except TimeoutError:
        return Answer(Error.TIMEOUT)
    except httpx.InvalidURL:
        return Answer(Error.ADDRESS)


async def _post(
    url: httpx.URL, body: bytes, headers: Mapping[str, str], allowed_hosts: frozenset[str]
) -> Answer:
    host = url.raw_host.decode()
    try:
        addresses = await _addresses(host, url.port or 443)
    except (OSError, UnicodeError):
        return Answer(Error.UNRESOLVED)
    addresses = outbound.allowed(host, addresses, allowed_hosts=allowed_hosts)[:ADDRESSES_TRIED]
    if url.scheme != "https" and host not in allowed_hosts:
        addresses = []
    answer = Answer(Error.ADDRESS)
    for address in addresses:
        request = httpx.Request(
            "POST",
            url.copy_with(host=address),  # the name is not resolved a second time
            content=body,
            headers={"host": url.netloc.decode(), **headers},
            extensions={
                "sni_hostname": host,
                "timeout": httpx.Timeout(None, connect=CONNECT_SECONDS).as_dict(),
            },
        )
        answer = await _asked(request)
        if answer.error not in (Error.CONNECT, Error.TLS):  # only then has it certainly not been received
            break
    return answer


async def _addresses(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_kind, address in found))


async def _asked(request: httpx.Request) -> Answer:
    # A transport of its own each time: a pool would take a connection to the same address for that of another name.
    async with httpx.AsyncHTTPTransport(verify=_trusted(), trust_env=False) as transport:
        try:
            response = await transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Answer(Error.TLS if _is_tls(error) else Error.CONNECT)
        except httpx.HTTPError:
            return Answer(Error.PROTOCOL)
        await _read_away(response)
        return Answer(
            error="" if response.is_success else Error.STATUS,
            status=response.status_code,
            retry_after=response.headers.get("retry-after", ""),
        )


async def _read_away(response: httpx.Response) -> None:
    """Lets the receiver finish what it writes, within bounds; some stop working when nobody listens any more."""
    length = 0
    try:
        async with asyncio.timeout(1.0):
            async for chunk in response.stream:  # type: ignore[union-attr]
                length += len(chunk)
                if length > ANSWER_MAX_BYTES:
                    break
    except (httpx.HTTPError, TimeoutError):
        logger.debug("a receiver's answer broke off behind its status")


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reading the authorities takes longer than a call
