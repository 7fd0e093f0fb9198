"""Web: metrics, health and read-only pages. Nothing here changes anything.

Pages need no JavaScript and load nothing from anywhere. Every value is escaped, and
secrets are masked on the way out. Reports are files that Evidently wrote: they run in a
sandbox without this page's origin and without a network.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException as StarletteHTTPException

from monitor.config import Config
from monitor.errors import HoldfastError
from monitor.exporter import Snapshot
from monitor.page import TONES, card, cards, instant, number, past
from monitor.secrets import redact
from monitor.status import overview
from monitor.store import Store

TEMPLATES = Path(__file__).parent / "templates"

SANDBOX = ("sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
           "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; "
           "form-action 'none'; frame-ancestors 'none'")
"""What a report may do: run its own plots, and nothing else."""

Next = Callable[[Request], Awaitable[Response]]


def masked(value: Any) -> Any:
    """``value`` with every secret in its texts replaced."""
    if isinstance(value, dict):
        return {masked(key): masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, Markup):
        return Markup(redact(str(value)))  # noqa: S704 - it was safe before it was masked
    return redact(value) if isinstance(value, str) else value


class Pages:
    """Renders the templates, with the headers that keep the pages harmless."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
            finalize=masked, trim_blocks=True, lstrip_blocks=True)
        style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.policy = (f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
                       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        self._environment.globals |= {"style": Markup(style), "tones": TONES}  # noqa: S704 - ours
        self._environment.filters |= {"instant": instant, "number": number}

    def render(self, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        body = self._environment.get_template(name).render(now=time.time(), **values)
        return HTMLResponse(body, status, {"Content-Security-Policy": self.policy})

    def problem(self, status: int, title: str, words: str) -> HTMLResponse:
        return self.render("problem.html", status, title=title, words=words)


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
    _machines(app, store, config, snapshot)
    _people(app, pages, store, config)
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
            return JSONResponse({"error": masked(error.detail)}, error.status_code)
        return pages.problem(error.status_code, "Not here", str(error.detail))

    @app.exception_handler(HoldfastError)
    async def failing(request: Request, error: HoldfastError) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": redact(str(error))}, 503)
        return pages.problem(503, "Not now", str(error))


def _machines(app: FastAPI, store: Store, config: Config, snapshot: Snapshot) -> None:
    """What Prometheus, Kubernetes and programs read."""

    @app.get("/metrics")
    def metrics(request: Request) -> Response:
        body, kind = snapshot.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": kind})

    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("alive\n")

    @app.get("/readyz")
    def readyz() -> Response:
        try:
            store.ready()
        except HoldfastError as error:
            return PlainTextResponse(f"{redact(str(error))}\n", 503)
        return PlainTextResponse("ready\n")

    @app.get("/api/status")
    def status() -> Response:
        return JSONResponse(masked(overview(config, store)))


def _people(app: FastAPI, pages: Pages, store: Store, config: Config) -> None:
    """What people read."""

    @app.get("/", response_class=HTMLResponse)
    def front() -> Response:
        return pages.render("status.html", cards=cards(store, config))

    @app.get("/models/{name}", response_class=HTMLResponse)
    def model(name: str) -> Response:
        for configured in config.models:
            if configured.name == name:
                made = card(store, config, configured, trouble=store.troubles().get(name),
                            tick=store.ticks().get(name))
                return pages.render("model.html", card=made, past=past(store, name))
        raise HTTPException(404, f"No model called {name} is configured.")

    @app.get("/reports/{report_id}", response_class=FileResponse)
    def report(report_id: int) -> Response:
        found = store.report(report_id)
        if found is None:
            raise HTTPException(404, f"There is no report {report_id}.")
        if not Path(found.path).is_file():
            raise HTTPException(404, f"The file of report {report_id} is gone; MLflow keeps a copy "
                                     f"at {found.uri}.")
        return FileResponse(found.path, media_type="text/html; charset=utf-8",
                            headers={"Content-Security-Policy": SANDBOX})


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
