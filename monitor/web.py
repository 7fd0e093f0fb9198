"""Web: one application of what machines (``api``) and people (``pages``) read, guarded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version as installed

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from monitor.access import Access
from monitor.actions import forms, programs
from monitor.api import machines, told
from monitor.config import Config
from monitor.credentials import mlflow_secret
from monitor.entrance import entrance
from monitor.errors import HoldfastError
from monitor.exporter import Snapshot
from monitor.guard import Guard
from monitor.hooks import hooks, nudges
from monitor.pages import WRONG, Pages, people
from monitor.secrets import redact, redacted
from monitor.server import Server, serve
from monitor.store import Store

__all__ = ["Server", "create_app", "serve"]

ABOUT = "What holdfast knows of every model: verdicts, decisions, versions. Times are UTC."

PROGRAMS = ("/api/", "/hooks/")
"""Where programs ask, who are told of errors as JSON."""


def create_app(store: Store, config: Config, snapshot: Snapshot) -> FastAPI:
    """The application; it keeps ``snapshot`` fresh while it runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        snapshot.start()
        yield
        snapshot.stop()

    app = FastAPI(title="holdfast", version=installed("holdfast"), description=ABOUT,
                  lifespan=lifespan, docs_url=None, redoc_url=None,
                  openapi_url="/api/openapi.json")
    pages, access = Pages(lambda: store.refusal), Access(config.http)
    snapshot.refused = access.refused
    _careful(app, pages)
    app.include_router(machines(store, snapshot))
    app.include_router(told(store, config))
    app.include_router(people(pages, store, config))
    if config.http.users:
        app.include_router(entrance(pages, access))
    if config.http.acts:
        app.include_router(programs(store, config))
        app.include_router(forms(pages, store, config))
    if config.http.hooked:
        app.include_router(hooks(store, config))
    if secret := mlflow_secret(config.http):
        app.include_router(nudges(store, config, secret))
    app.add_middleware(Guard, access=access, problem=pages.problem)
    return app


def _careful(app: FastAPI, pages: Pages) -> None:
    """Errors in words."""

    @app.exception_handler(StarletteHTTPException)
    async def missing(request: Request, error: StarletteHTTPException) -> Response:
        if request.url.path.startswith(PROGRAMS):
            return JSONResponse({"error": redacted(error.detail)}, error.status_code,
                                error.headers)
        return pages.problem(error.status_code, "Not here", str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def misunderstood(request: Request, error: RequestValidationError) -> Response:
        if request.url.path.startswith(PROGRAMS):
            found = [f"{'.'.join(str(part) for part in item['loc'])}: "
                     f"{item['msg'].removeprefix('Value error, ')}" for item in error.errors()]
            return JSONResponse(redacted({"error": "; ".join(found[:10])}), 422)
        wrong = {str(item["loc"][1]): item for item in reversed(error.errors())}
        return pages.problem(422, WRONG, "; ".join(
            f"{name}: {str(item['input'])[:60]!r}; "
            f"{item['msg'].replace('Input should be', 'right would be')}"
            for name, item in wrong.items()))

    @app.exception_handler(HoldfastError)
    async def failing(request: Request, error: HoldfastError) -> Response:
        if request.url.path.startswith(PROGRAMS):
            return JSONResponse({"error": redact(str(error))}, 503)
        return pages.problem(503, "Not now", str(error))
