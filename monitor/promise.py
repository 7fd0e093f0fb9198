"""Promise: what a champion's baseline can and cannot tell, for `holdfast baseline`."""

from __future__ import annotations

from typing import Any

from monitor.config import Model
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.follow import baseline_of
from monitor.reference import sealed


def promise(model: Model, deps: Deps) -> dict[str, Any]:
    """The champion's baseline as plain values; it is kept, so that the next tick adopts it."""
    champion = deps.registry.champion(model.registered)
    if champion is None:
        raise HoldfastError(f"{model.name}: {model.registered!r} has no alias `champion`; set it in "
                            "MLflow, or run `holdfast retrain --bootstrap`")
    with deps.source(model) as source:
        baseline = baseline_of(champion, model, source, deps)
    if baseline is None:
        raise HoldfastError(f"{model.name}: the log does not hold a whole reference yet")
    deps.store.save_baseline(model.name, champion.version, sealed(model, baseline),
                             baseline.to_json())
    return {"model": model.name, "version": champion.version, "set_aside": baseline.set_aside,
            "promise": baseline.promise}
