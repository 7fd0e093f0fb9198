"""Web: one application of what machines (``api``) and people (``pages``) read, and its server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from monitor.api import machines
from monitor.config import Config
from monitor.errors import HoldfastError
from monitor.exporter import Snapshot
from monitor.pages import Pages, people
from monitor.secrets import redact, redacted
from monitor.store import Store

Next = Callable[[Request], Awaitable[Response]]


def create_app(store: Store, config: Config, snapshot: Snapshot) -> FastAPI:
    """The application; it keeps ``snapshot`` fresh while it runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        snapshot.start()
        yield
        snapshot.stop()

    app = FastAPI(title="holdfast", lifespan=lifespan, docs_url=None, redoc_url=None,
                  openapi_url=None)
    pages = Pages()
    _careful(app, pages)
    app.include_router(machines(store, config, snapshot))
    app.include_router(people(pages, store, config))
    return app


def _careful(app: FastAPI, pages: Pages) -> None:
    """Headers of every answer, and errors in words."""

    @app.middleware("http")
    async def headers(request: Request, call_next: Next) -> Response:
        answer = await call_next(request)
        answer.headers.setdefault("Cache-Control", "no-store")
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        answer.headers.setdefault("Referrer-Policy", "no-referrer")
        return answer

    @app.exception_handler(StarletteHTTPException)
    async def missing(request: Request, error: StarletteHTTPException) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": redacted(error.detail)}, error.status_code)
        return pages.problem(error.status_code, "Not here", str(error.detail))

    @app.exception_handler(HoldfastError)
    async def failing(request: Request, error: HoldfastError) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": redact(str(error))}, 503)
        return pages.problem(503, "Not now", str(error))


class Server:
    """A running server; ``stop`` ends it."""

    def __init__(self, server: uvicorn.Server, thread: threading.Thread, host: str,
                 port: int) -> None:
        self._server = server
        self._thread = thread
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"

    def stop(self) -> None:
        """Finish the answers that are being given and close the port."""
        self._server.should_exit = True
        self._thread.join(timeout=10)


def serve(app: FastAPI, host: str, port: int) -> Server:
    """Serve ``app`` in a thread, once it answers; port 0 takes a free one (``Server.port``)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise HoldfastError(f"http: cannot listen on {host}:{port}: {error.strerror}; give "
                            "another http.host or http.port") from error
    bound: int = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=5))
    thread = threading.Thread(target=_run, args=(server, listener), name="web", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    if not server.started:
        raise HoldfastError(f"http: the server on {host}:{bound} did not start; see its log")
    return Server(server, thread, host, bound)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    with listener:
        server.run(sockets=[listener])
