"""API: what Prometheus, Kubernetes and programs read. Nothing here changes anything."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from monitor.config import Config
from monitor.errors import HoldfastError
from monitor.exporter import Snapshot
from monitor.secrets import redact, redacted
from monitor.status import overview
from monitor.store import Store


def machines(store: Store, config: Config, snapshot: Snapshot) -> APIRouter:
    """What Prometheus, Kubernetes and programs read."""
    router = APIRouter()

    @router.get("/metrics")
    def metrics(request: Request) -> Response:
        body, kind = snapshot.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": kind})

    @router.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("alive\n")

    @router.get("/readyz")
    def readyz() -> Response:
        try:
            store.ready()
        except HoldfastError as error:
            return PlainTextResponse(f"{redact(str(error))}\n", 503)
        return PlainTextResponse("ready\n")

    @router.get("/api/status")
    def status() -> Response:
        return JSONResponse(redacted(overview(config, store)))
    return router
