"""An upstream that keeps a book: what it was asked, how much of the answer it gave, and the usage it reported."""

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web

from tests.chaos.media import IMAGES, SPEECH, TRANSCRIPTIONS
from tests.dialects import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Dialect

PROMPT_STEPS, COMPLETION_STEPS = 200, 900


def usage_of(serial: int) -> tuple[int, int]:
    """Prompt and completion tokens, different for every request, so that a charge tells whose it is."""
    return 1 + serial % PROMPT_STEPS, 1 + serial // PROMPT_STEPS % COMPLETION_STEPS


def text_of(serial: int) -> str:
    return f"answer {serial}."


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with a request; as text it is the beginning of the prompt, whatever protocol carries that."""

    serial: int
    kind: str
    think_seconds: float
    pause_seconds: float

    def __str__(self) -> str:
        return f"<<{self.serial} {self.kind} {self.think_seconds:.4f} {self.pause_seconds:.4f}>>"


PLAN = re.compile(rb"<<(\d+) (\w+) ([\d.]+) ([\d.]+)>>")


def plan_in(body: bytes) -> Plan:
    found = PLAN.search(body)
    assert found is not None
    serial, kind, think, pause = (part.decode() for part in found.groups())
    return Plan(int(serial), kind, float(think), float(pause))


@dataclass
class Served:
    calls: int = 0
    finished: bool = False


@dataclass
class BookingUpstream:
    """`book` by the serial number of a request's Plan. It speaks every protocol."""

    port: int
    host: str = "127.0.0.1"
    book: dict[int, Served] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def start(self) -> None:
        app = web.Application(client_max_size=2**24)
        for dialect in (CHAT, COMPLETIONS, MESSAGES, RESPONSES, IMAGES, SPEECH, TRANSCRIPTIONS):
            app.router.add_post(f"/v1{dialect.path}", partial(self._answer, dialect))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, dialect: Dialect, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        plan = plan_in(body)
        served = self.book.setdefault(plan.serial, Served())
        served.calls += 1
        await asyncio.sleep(plan.think_seconds)
        if plan.kind == "refused":
            return web.json_response({"error": {"message": "overloaded"}}, status=503)
        prompt, completion = usage_of(plan.serial)
        breaks = plan.kind == "broken" and served.calls == 1  # a repeat is answered
        if dialect.wants_stream(body):
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            events = dialect.stream(text_of(plan.serial), prompt=prompt, completion=completion)
            with contextlib.suppress(ConnectionError):  # our client left, or was killed
                await self._stream(request, response, plan, events, served, breaks=breaks)
            return response
        served.finished = True
        answer = dialect.whole(text_of(plan.serial), prompt=prompt, completion=completion)
        if plan.kind == "uncounted":
            del answer["usage"]
        written, content_type = dialect.written(answer)
        return web.Response(body=written, content_type=content_type)

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        plan: Plan,
        events: list[bytes],
        served: Served,
        *,
        breaks: bool,
    ) -> None:
        await response.prepare(request)
        for number, event in enumerate(events):
            if breaks and number == len(events) // 2:
                if request.transport is not None:  # else its reader has left before
                    request.transport.close()
                return
            if plan.kind == "uncounted" and b'"usage"' in event:
                continue
            await response.write(event)
            await asyncio.sleep(plan.pause_seconds)
        served.finished = True  # whoever has read all of it need not wait for its end
        await response.write_eof()
