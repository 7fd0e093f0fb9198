"""Promise: what a champion's baseline can and cannot tell, for `holdfast baseline`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from monitor.baseline import Baseline
from monitor.config import Model
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.follow import baseline_of
from monitor.performance import RELATIVE, measure
from monitor.reference import sealed
from monitor.status import labels, ripe

MATTER, LISTED = 5, 10
"""Features and groups that are named at most."""


def promise(model: Model, deps: Deps) -> dict[str, Any]:
    """The champion's baseline as plain values; it is kept, so that the next tick adopts it."""
    champion = deps.registry.champion(model.registered)
    if champion is None:
        raise HoldfastError(f"{model.name}: {model.registered!r} has no alias `champion`; set it "
                            "in MLflow, or run `holdfast retrain --bootstrap`")
    with deps.source(model) as source:
        baseline = baseline_of(champion, model, source, deps)
    if baseline is None:
        raise HoldfastError(f"{model.name}: the log does not hold a whole reference yet")
    deps.store.save_baseline(model.name, champion.version, sealed(model, baseline),
                             baseline.to_json())
    return {"model": model.name, "version": champion.version, "set_aside": baseline.set_aside,
            "promise": baseline.promise, "performance": _performance(model, baseline),
            "segments": {"held": sorted(baseline.segments.held), "small": baseline.segments.small,
                         "more": baseline.segments.more},
            "importance": baseline.importance and baseline.importance.to_dict() | {
                "shares": baseline.importance.shares},
            "labels": labels(model, deps.store)}


def _performance(model: Model, baseline: Baseline) -> dict[str, Any]:
    """How well the version did on its reference, and what counts as worse."""
    found = measure(baseline.performance, model.metric, positive=model.log.positive_label,
                    block=max(model.calendar.pane, timedelta(days=1)))
    return {"metric": found.metric, "value": found.value, "low": found.low, "high": found.high,
            "n": found.n, "reason": found.reason, "drop": model.policy.performance.drop,
            "of": "share" if model.metric in RELATIVE else "units"}


def words(promised: dict[str, Any]) -> str:
    """The promise as a person reads it."""
    told = promised["promise"]
    lines = [f"{promised['model']}, version {promised['version']}: "
             f"{told['reference_windows']} reference windows of about "
             f"{told['typical_rows']:.0f} rows", *_budget(told)]
    lines.append(f"  performance        {_told(promised['performance'])}")
    lines += [*_segments(promised["segments"]), *_worth(promised["importance"])]
    if promised["labels"]:
        lines.append(f"  labels             {ripe(promised['labels'])}")
    lines += [f"  cannot know        the {cycle}" for cycle in told["unknown_cycles"]]
    lines += [f"  set aside          {column}: {why}"
              for column, why in promised["set_aside"].items()]
    lines.append("  smallest shift that is found in four of five windows of usual size:")
    wide = max(map(len, told["detectable_shift"]), default=0)
    lines += [f"    {key:<{wide}}  {_shift(shift)}"
              for key, shift in told["detectable_shift"].items()]
    return "\n".join(lines)


def _segments(told: dict[str, Any]) -> Iterator[str]:
    """Which declared groups are judged, and which are too small for it."""
    if told["held"]:
        yield f"  segments           {_listed(told['held'])}: each against its own reference"
    small = [f"{name} ({n} rows)" for name, n in told["small"].items()]
    if small or told["more"]:
        more = f" and {told['more']} more" if told["more"] else ""
        yield f"  without reference  {_listed(small)}{more}".rstrip()


def _worth(told: dict[str, Any] | None) -> Iterator[str]:
    """What matters most to the version, and how that is known."""
    if told is None:
        return
    most = sorted(told["shares"].items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name} {round(100 * share)} %" for name, share in most[:MATTER])
    how = ("by permutation" if told["kind"] == "permutation" else
           f"by a surrogate that repeats {told['explained']:.0%} of its logged answers")
    yield f"  matters            {named} ({how})"


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - LISTED} more" if names[LISTED:] else ""
    return ", ".join(names[:LISTED]) + rest


def _budget(told: dict[str, Any]) -> Iterator[str]:
    """What was asked for, what it may turn out to be, and what it rests on."""
    spans = ", ".join(f"{span}" for span in told["spans"][1:])
    yield (f"  alarm budget       {told['alarm_budget']}: windows are tested at "
           f"{told['level_per_window']:.2g}, {told['tests']} tests together"
           + (f", over 1, {spans} windows" if spans else ""))
    rate = told["alarms_per_budget_period"]
    if rate:
        yield (f"  promised           {rate[0]:.2g} drift alarms per budget period on average over "
               f"references; with this one, {rate[1]:.2g} to {rate[2]:.2g} (95 %)")
    yield f"  on the reference   {told['reference_alarms']} alarms"
    if told["parametric_tail"]:
        yield ("  thresholds         from a parametric tail: the reference has too few windows to "
               f"show such rare ones (without it: {told['smallest_budget_without_tail']})")


def _shift(shift: dict[str, Any]) -> str:
    if shift["found"] is None:
        return "none: even the largest is lost in how much the reference itself varies"
    if shift["unit"] == "sd":
        return f"all values move by {shift['found']:.3g} standard deviations ({shift['by']:.3g})"
    return f"{shift['found']:.2%} of the rows turn to its rarest value"


def _told(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return f"not judged: {found['reason'] or 'the reference holds no labelled prediction'}"
    interval = (f" ({found['low']:.4g} to {found['high']:.4g})"
                if found["low"] is not None and found["high"] is not None else "")
    drop = f"{found['drop']:.3g}" if found["of"] == "units" else f"{found['drop']:.1%}"
    return (f"{found['metric']} {found['value']:.4g}{interval} on {found['n']} labels; worse by "
            f"{drop}, beyond doubt, is degraded")
