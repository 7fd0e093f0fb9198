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


def words(promised: dict[str, Any]) -> str:
    """The promise as a person reads it."""
    told = promised["promise"]
    lines = [f"{promised['model']}, version {promised['version']}: "
             f"{told['reference_windows']} reference windows of about {told['typical_rows']:.0f} rows",
             f"  alarm budget       {told['alarm_budget']}: every window is tested at "
             f"{told['level_per_window']:.2g}, shared among {told['tests']} tests"]
    rate = told["alarms_per_budget_period"]
    if rate:
        lines.append(f"  on the reference   {told['reference_alarms']} alarms, "
                     f"{rate[0]:.2g} per budget period (95 % interval {rate[1]:.2g} to {rate[2]:.2g})")
    if told["parametric_tail"]:
        lines.append("  thresholds         from a parametric tail: the reference has too few windows "
                     f"to show such rare ones (without it: {told['smallest_budget_without_tail']})")
    lines += [f"  cannot know        the {cycle}" for cycle in told["unknown_cycles"]]
    lines += [f"  set aside          {column}: {why}"
              for column, why in promised["set_aside"].items()]
    lines.append("  smallest shift that is found in four of five windows of typical size:")
    lines += [f"    {key:<28}" + ", ".join(f"{name} {value:.3g}" for name, value in shifts.items())
              for key, shifts in told["detectable_shift"].items()]
    return "\n".join(lines)
