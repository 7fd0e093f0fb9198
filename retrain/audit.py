"""Audit: versions on every golden benchmark set, side by side, for people and for the history."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from monitor.conditions import Benchmark
from monitor.registry import Outcome
from monitor.window import isoformat
from retrain.benchmarks import Golden, read
from retrain.blocks import Paired, estimate
from retrain.card import table
from retrain.checks import golden_blocks, known, usable
from retrain.contract import class_values
from retrain.dataset import Refusal
from retrain.evaluate import Scores, difference
from retrain.golden import comparable, on_each
from retrain.metrics import CLASS_METRICS, LOWER_IS_BETTER, VALUE_METRICS
from retrain.rivals import Rival, rival
from retrain.work import Work

ROLES = ("champion", "challenger")
HEAD = ("benchmark", "role", "version", "metric", "value", "low", "high", "rows")


def audit(work: Work) -> Outcome:
    """Every version of ``options['versions']`` (role -> number) on every golden set of the model.

    ``Refusal`` where there is no set, or none of the versions can be run.
    """
    model = work.model
    work.steps.next(f"golden sets of {model.name!r}")
    sets = read(model, work.config.limits)
    if not sets:
        raise Refusal(f"models.{model.name}.benchmarks is empty; right would be at least one")
    found, not_run = _versions(work, sets)
    if not found:
        raise Refusal("no version can be run on the golden sets: " + "; ".join(
            f"{name}: {why}" for name, why in not_run.items()))
    work.steps.next(f"{', '.join(item.name for item in found.values())} on {len(sets)} sets")
    sets = comparable(sets, [item.contract for item in found.values() if item.contract])
    scores = {role: _scores(work, item, sets) for role, item in found.items()}
    rows = [row for role, item in found.items() for one in sets
            for row in _rows(one.rule, role, item, scores[role][one.name], metric=model.metric)]
    gains = list(_gains(scores, sets, model.metric))
    result = {"metric": model.metric, "scores": rows, "gains": gains, "not_run": not_run,
              "versions": {role: item.version.version for role, item in found.items()}}
    return _told(work, found, result)


def _versions(work: Work, sets: Sequence[Golden]) -> tuple[dict[str, Rival], dict[str, str]]:
    """The versions that can be run, by role, and why others cannot."""
    classes = () if work.model.task == "regression" else class_values(sets[0].frame["_label"])
    found: dict[str, Rival] = {}
    not_run: dict[str, str] = {}
    versions: dict[str, str] = work.request.options.get("versions", {})
    for role in (role for role in ROLES if role in versions):
        number = versions[role]
        item = rival(str(number), work.registry, model=work.model, classes=classes,
                     folder=work.folder / "versions")
        if item is None or not item.runnable:
            not_run[f"version {number}"] = item.why if item else "it is gone from the registry"
        else:
            found[role] = item
    return found, not_run


def _scores(work: Work, item: Rival, sets: Sequence[Golden]) -> dict[str, Scores]:
    assert item.artifact is not None
    assert item.contract is not None
    usual = VALUE_METRICS if work.model.task == "regression" else (*CLASS_METRICS, "ece")
    return on_each(item.name, item.artifact, item.contract, sets=sets,
                   metrics=tuple(dict.fromkeys((work.model.metric, *usual))))


def _rows(rule: Benchmark, role: str, item: Rival, scores: Scores, *, metric: str
          ) -> Iterator[dict[str, Any]]:
    """One row per metric that is known; ``under`` where a declared floor is not reached."""
    for name, found in scores.quality.items():
        if found.value is None and name != metric:
            continue
        under = name == metric and rule.floor is not None and (
            found.value is None or (found.value > rule.floor if metric in LOWER_IS_BETTER
                                    else found.value < rule.floor))
        yield {"benchmark": rule.name, "role": role, "version": item.version.version,
               "metric": name, "value": known(found.value), "low": known(found.low),
               "high": known(found.high), "n": found.n, "under": under}


def _gains(scores: dict[str, dict[str, Scores]], sets: Sequence[Golden], metric: str
           ) -> Iterator[dict[str, Any]]:
    """How much better the challenger is than the champion, on the same rows of each set."""
    if set(scores) != {"champion", "challenger"}:
        return
    for one in sets:
        ours, theirs = scores["challenger"][one.name], scores["champion"][one.name]
        named = usable(ours, theirs, metric)
        found: Paired = estimate(difference(ours.judged, theirs.judged, named),
                                 golden_blocks(ours))
        if math.isfinite(found.low) and math.isfinite(found.high):
            yield {"benchmark": one.name, "metric": named, "gain": 0.0 - found.difference,
                   "low": 0.0 - found.high, "high": 0.0 - found.low, "sure": found.sure,
                   "blocks": found.blocks, "block": found.block, "n": found.n}


def _told(work: Work, found: dict[str, Rival], result: dict[str, Any]) -> Outcome:
    """Metrics, a table and tags in MLflow; every write may be repeated."""
    rows, metric = result["scores"], result["metric"]
    work.steps.next("metrics, table and tags")
    work.record.metrics({f"{row['benchmark']}/{row['role']}/{row['metric']}": row["value"]
                         for row in rows if row["value"] is not None})
    cells = [[row["benchmark"], row["role"], row["version"], row["metric"], row["value"],
              row["low"], row["high"], row["n"]] for row in rows]
    work.record.json("audit.json", {"columns": list(HEAD), "data": cells})
    work.record.text("audit.md", "\n".join(table(HEAD, [
        [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in cells])) + "\n")
    at = isoformat(work.request.known_at)
    decided = [row for row in rows if row["metric"] == metric]
    for item in found.values():
        work.registry.tag_version(work.model.registered, item.version.version, {
            f"holdfast.benchmark.{row['benchmark']}": f"{metric} {_shown(row)} at {at}"
            for row in decided if row["version"] == item.version.version})
    reason = "; ".join(f"{row['role']} version {row['version']} on {row['benchmark']}: {metric} "
                       f"{_shown(row)}" + (", under its floor" if row["under"] else "")
                       for row in decided)
    return work.record.conclude("done", reason, result=result | {"reason": reason})


def _shown(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return f"unknown on {row['n']} rows"
    interval = ("" if row["low"] is None or row["high"] is None
                else f" ({row['low']:.3f} to {row['high']:.3f})")
    return f"{row['value']:.3f}{interval} on {row['n']} rows"
