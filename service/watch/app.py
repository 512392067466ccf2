"""The web application: routes, and what every answer carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.config import VERSION, Settings
from service.errors import LedgerUnavailable
from service.ledger.database import Database
from service.ledger.wake import Wake
from service.watch.access import Access
from service.watch.broadcast import Broadcast, LedgerWatch
from service.watch.event_stream import EventStream
from service.watch.health import readiness
from service.watch.metrics import LedgerCollector
from service.watch.pages import HERE, Pages

MOST_FORM_BYTES = 4096

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Adds the headers to every answer, streams included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, send_with_headers)


def make_app(
    settings: Settings, database: Database, wake: Wake, clock: Callable[[], float]
) -> Starlette:
    """The application over one ledger. `app.state.broadcast` ends its streams when closed."""
    access = Access(settings.watch.token, clock)
    pages = Pages(settings, database, access, clock)
    broadcast = Broadcast()
    registry = CollectorRegistry()
    registry.register(LedgerCollector(settings, database, clock))

    def metrics(request: Request) -> Response:
        """Whoever cannot read the ledger gets 503, and Prometheus counts the scrape as failed."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "alive", "version": VERSION})

    def readyz(_request: Request) -> Response:
        found = readiness(database, clock())
        return JSONResponse(
            {"ready": found.ready, "reasons": list(found.reasons)}, 200 if found.ready else 503
        )

    async def events(_request: Request) -> Response:
        return EventStream(broadcast, None, clock)

    async def room_events(request: Request) -> Response:
        return EventStream(broadcast, str(request.path_params["scanner"]), clock)

    async def login(request: Request) -> Response:
        if request.method == "POST":
            token = await _form_value(request, "token")
            if not access.right(token):
                return await run_in_threadpool(pages.login, wrong=True)
            answer = RedirectResponse("/", 303)
            access.grant(answer, secure=request.url.scheme == "https")
            return answer
        if not access.possible:
            raise HTTPException(404, "No token is configured: nobody sees patient identity.")
        return await run_in_threadpool(pages.login, wrong=False)

    async def logout(_request: Request) -> Response:
        answer = RedirectResponse("/", 303)
        access.withdraw(answer)
        return answer

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": error.detail}, error.status_code)
        title = "Not found" if error.status_code == 404 else "Not possible"
        return pages.message(error.status_code, title, error.detail)

    async def unreadable(request: Request, _error: Exception) -> Response:
        if request.url.path.startswith(("/api/", "/metrics")):
            return JSONResponse({"error": "the ledger does not answer"}, 503)
        return pages.message(
            503, "The ledger does not answer", "The gate's database cannot be read just now."
        )

    @asynccontextmanager
    async def watching(_app: Starlette) -> AsyncIterator[None]:
        broadcast.attach(asyncio.get_running_loop())
        watch = LedgerWatch(database, wake, broadcast, clock)
        watch.start()
        try:
            yield
        finally:
            broadcast.close()
            await run_in_threadpool(watch.stop)

    app = Starlette(
        routes=[
            Route("/", pages.status),
            Route("/series/{uid}", pages.series),
            Route("/rooms", pages.rooms),
            Route("/room/{scanner:path}", pages.room),
            Route("/thumbnail/{frame_id:int}.png", pages.thumbnail),
            Route("/api/series", pages.series_json),
            Route("/api/series/{uid}", pages.one_series_json),
            Route("/events", events),
            Route("/events/room/{scanner:path}", room_events),
            Route("/login", login, methods=["GET", "POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/metrics", metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: refused, LedgerUnavailable: unreadable},
        lifespan=watching,
    )
    app.state.broadcast = broadcast
    return app


async def _form_value(request: Request, name: str) -> str:
    """One value of a small posted form. Raises HTTPException 413 for a large one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            raise HTTPException(413, "The form is too large.")
    return parse_qs(body.decode("utf-8", "replace")).get(name, [""])[0]
