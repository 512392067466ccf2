"""Server-Sent Events (WHATWG HTML 9.2): `hello` at once, `changed` when it did, `beat` between.

Every event carries the gate's time, so that a page knows how old what it shows is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from service.config import VERSION
from service.watch.broadcast import Broadcast, Full, Listener

BEAT_S = 5.0
SHORTEST_GAP_S = 0.25
"""Between two `changed` of one stream: slices arrive faster than anyone reads."""
SEND_TIMEOUT_S = 30.0
RECONNECT_MS = 1000


class EventStream(Response):
    """The events of one scanner, or of all (None), until the page or the gate goes."""

    media_type = "text/event-stream"

    def __init__(
        self,
        broadcast: Broadcast,
        scanner: str | None,
        clock: Callable[[], float],
        *,
        beat_s: float = BEAT_S,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._broadcast = broadcast
        self._scanner = scanner
        self._clock = clock
        self._beat_s = beat_s
        self.init_headers({"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._broadcast.listening(self._scanner) as listener:
                await self._stream(listener, receive, send)
        except Full:
            refusal = PlainTextResponse(
                "Too many pages listen already.\n", 503, headers={"Retry-After": "10"}
            )
            await refusal(scope, receive, send)

    async def _stream(self, listener: Listener, receive: Receive, send: Send) -> None:
        """Send until the peer disconnects, stops reading, or the gate stops."""
        gone = asyncio.create_task(_disconnected(receive))
        sending = asyncio.create_task(self._send_events(listener, send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sending):
                task.cancel()
            results = await asyncio.gather(gone, sending, return_exceptions=True)
        for result in results:
            # a page that stopped reading, or went while it was written to, is no fault
            if isinstance(result, Exception) and not isinstance(result, TimeoutError | OSError):
                raise result

    async def _send_events(self, listener: Listener, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        first = f"retry: {RECONNECT_MS}\n\n" + self._event("hello")
        await self._send(send, first)
        while not self._broadcast.closed:
            try:
                async with asyncio.timeout(self._beat_s):
                    await listener.stirred.wait()
            except TimeoutError:
                await self._send(send, self._event("beat"))
                continue
            if self._broadcast.closed:
                break
            listener.stirred.clear()
            await self._send(send, self._event("changed"))
            await asyncio.sleep(SHORTEST_GAP_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, text: str) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    def _event(self, name: str) -> str:
        data = json.dumps({"at": self._clock(), "version": VERSION})
        return f"event: {name}\ndata: {data}\n\n"


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
