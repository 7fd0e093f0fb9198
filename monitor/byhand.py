"""Requests by hand: `holdfast retrain`."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from monitor import decide
from monitor.act import request_for
from monitor.config import Model
from monitor.deps import Deps
from monitor.errors import ConfigError, HoldfastError
from monitor.follow import follow, move
from monitor.request import Kind


def ask(model: Model, deps: Deps, *, reason: str, bootstrap: bool, now: datetime, wait: bool
        ) -> dict[str, Any]:
    """The outcome of a request made by a person: status, reason, version, run.

    ``ConfigError`` when the configuration trains nothing, ``HoldfastError`` when another request
    of the model is open or the registry already has a champion to bootstrap.
    """
    if model.training.kind == "none":
        raise ConfigError([f"models.{model.name}.training.kind: none only monitors; right would be "
                           "torch"])
    champion = deps.registry.champion(model.registered)
    if bootstrap and champion is not None:
        raise HoldfastError(f"{model.registered!r} has a champion already, version "
                            f"{champion.version}; leave --bootstrap out")
    if not bootstrap and champion is None:
        raise HoldfastError(f"{model.registered!r} has no alias `champion`; add --bootstrap to "
                            "train a first one from the reference period")
    kind: Kind = "bootstrap" if bootstrap else "train"
    request = request_for(kind, model, deps, now, reason=reason)
    if not deps.store.request(request, None):
        row = deps.store.open_request(model.name)
        raise HoldfastError(f"request {row.request.request_id} of this model is open; wait for it"
                            if row else f"request {request.request_id} was made already")
    move(model, deps.store, now, f"asked for by hand: {reason}",
         lambda state: decide.requested(state, request, now))
    assert deps.launcher is not None
    deps.store.attempt(request.request_id)
    deps.launcher.start(request)
    while wait and deps.launcher.running(request.request_id):
        time.sleep(0.2)
    if wait:
        with deps.source(model) as source:
            follow(model, source, deps, now)
    for row in deps.store.requests(model.name):
        if row.request.request_id == request.request_id:
            outcome = row.outcome or {}
            status = "running" if row.status == "open" else row.status
            return {"request_id": request.request_id, "status": status,
                    "reason": outcome.get("reason", request.reason),
                    "version": outcome.get("version"), "run_id": outcome.get("run_id")}
    raise HoldfastError(f"request {request.request_id} is gone from the store")
