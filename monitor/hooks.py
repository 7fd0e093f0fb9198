"""Hooks: webhooks of other programs. Alertmanager's alerts may ask for retrains, and MLflow's
registry for a look at its aliases."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from monitor import replies
from monitor.api import ERRORS
from monitor.clerk import LOOK
from monitor.config import Config, Model
from monitor.desk import Wish, take
from monitor.errors import RefusedError
from monitor.fields import Words
from monitor.nudge import heard
from monitor.secrets import redacted
from monitor.store import Store

LONGEST = 300
"""Characters of an alert's words that are kept."""
NOBODY: dict[int | str, dict[str, Any]] = {
    404: {"model": replies.Heard | replies.Problem, "description": "None is about a known model"}}
"""The answer where no alert is of use, as declared."""


class Alert(BaseModel):
    """One alert of a notification, as far as it is read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, Words]
    annotations: dict[str, Words] = {}
    starts_at: AwareDatetime = Field(alias="startsAt")
    fingerprint: str = Field(default="", max_length=100)


class Notification(BaseModel):
    """What Alertmanager sends to a webhook (version 4)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal["4"]
    alerts: list[Alert] = Field(max_length=1000)


def hooks(store: Store, config: Config) -> APIRouter:
    """Where other programs call."""
    router = APIRouter()
    models = {model.name: model for model in config.models}

    @router.post("/hooks/alertmanager", response_model=replies.Heard, tags=["acting"],
                 responses=ERRORS | NOBODY)
    def alertmanager(sent: Notification) -> Response:
        """Firing alerts with a label `model` ask for a retrain of it, where its policy
        (`policy.retrain.alerts`) names them; the answer says what became of each."""
        found = [{"alert": alert.labels.get("alertname", ""), "model": alert.labels.get("model"),
                  **_heard(alert, models, store)} for alert in sent.alerts]
        codes = {item["status"] for item in found}
        return JSONResponse(redacted({"alerts": found}), 404 if codes == {404} else 200)
    return router


def nudges(store: Store, config: Config, secret: bytes) -> APIRouter:
    """Where MLflow's registry calls; each delivery is heeded once, by whichever daemon leads."""
    router = APIRouter()

    @router.post("/hooks/mlflow", status_code=202)
    async def mlflow(request: Request) -> Response:
        """An event of a registered model, signed by MLflow, wakes the models that follow it."""
        told = heard(request.headers, await request.body(), secret=secret, now=time.time())
        if told is None:
            return JSONResponse({"error": "the signature does not fit, or it is too old"}, 401)
        woken = [model for model in config.models if model.registered == told.registered]
        for model in woken:
            await run_in_threadpool(take, Wish(LOOK, {"event": told.event}, "mlflow",
                                               told.delivery), model, store)
        return JSONResponse({"models": [model.name for model in woken]}, 202)
    return router


def _heard(alert: Alert, models: dict[str, Model], store: Store) -> dict[str, Any]:
    """What became of one alert: a status as of HTTP, and words."""
    if alert.status == "resolved":
        return {"status": 200, "words": "resolved: nothing to do"}
    name = alert.labels.get("model")
    if name not in models:
        return {"status": 404, "words": "no label model" if name is None else
                "no model of that name is configured"}
    title, model = alert.labels.get("alertname", ""), models[name]
    if title not in model.policy.retrain.alerts:
        return {"status": 200, "words": "policy.retrain.alerts does not name it: nothing to do"}
    words = alert.annotations.get("reason") or alert.annotations.get("summary") or "no words"
    try:
        order = take(Wish("retrain", {"alert": title, "reason": words[:LONGEST],
                                      "bootstrap": False}, "alertmanager", _episode(alert)),
                     model, store)
    except RefusedError as error:
        return {"status": 409, "words": str(error)}
    return {"status": 202 if order.status == "asked" else 200, "order": order.id,
            "words": f"{order.status}: {order.note}" if order.note else order.status}


def _episode(alert: Alert) -> str:
    """The key of one firing of an alert: what it is about, and when it began."""
    about = alert.fingerprint or repr(sorted(alert.labels.items()))
    return hashlib.sha256(f"{about} {alert.starts_at.timestamp()}".encode()).hexdigest()[:32]
