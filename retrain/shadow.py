"""Shadow: champion and challenger on the rows that came since the challenger's own, side by side.

What is mature is measured, what is not is estimated by what each version's baseline taught, and
without any label it is told how many rows they answer differently.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.baseline import Baseline
from monitor.performance import METRICS_OF, Performance
from monitor.profile import Profile
from monitor.registry import Outcome
from monitor.source import Source
from monitor.window import Window, isoformat, parse_time
from retrain.baseline import counted
from retrain.contract import class_values
from retrain.dataset import Refusal, conform, ordered, usable
from retrain.evaluate import Answers, Scores, answer, compare, judged, logged, paired, session
from retrain.evaluate import score as scored
from retrain.metrics import METRICS, NEEDS_SHARES
from retrain.rivals import Rival, rival
from retrain.work import Work

LEAST = 30
"""Mature rows below which nothing is measured."""
ROLES = ("champion", "challenger")

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Side:
    """One version's answers to the rows, in its own types."""

    rival: Rival
    frame: pd.DataFrame
    answers: Answers

    def scores(self, rows: Mask, metrics: tuple[str, ...]) -> Scores:
        """How well it answered these labelled rows."""
        assert self.rival.contract is not None
        share = self.answers.probability
        part = replace(self.answers, predictions=self.answers.predictions[rows],
                       probability=None if share is None else share[rows])
        return scored(self.rival.name, part, self.frame[rows].reset_index(drop=True),
                      contract=self.rival.contract, metrics=metrics)


def shadow(work: Work) -> Outcome:
    """Both versions on a bounded sample of the asked span, for the scoreboard."""
    request, options = work.request, work.request.options
    span = Window(parse_time(options["since"]), parse_time(options["until"]))
    work.steps.next(f"rows of {work.model.name!r} in {span}, as known at "
                    f"{isoformat(request.known_at)}")
    frame = _rows(work, span)
    sides = _sides(work, frame)
    frame = sides[0].frame
    work.steps.next(f"{' and '.join(side.rival.name for side in sides)} on {len(frame)} rows")
    mature = _mature(work, frame, span)
    result = {"purpose": "shadow", "metric": work.model.metric, "n": len(frame),
              "labelled": int(mature.sum()), "since": isoformat(span.start),
              "until": isoformat(span.end),
              "champion": sides[0].rival.version.version,
              "challenger": sides[1].rival.version.version,
              **_differing(sides, np.ones(len(frame), dtype=bool)),
              **_realized(work, sides, mature), "windows": []}
    work.steps.next("estimates of what has no labels yet, window by window")
    known = [_profiles(work, side, ~mature, span) for side in sides]
    result["estimated"] = {role: _estimate(work, item, None)
                           for role, item in zip(ROLES, known, strict=True)}
    result["windows"] = [_window(work, sides, known, place=(window, mature))
                         for window in _windows(work, span)]
    reason = _words(result)
    work.steps.note(reason)
    return work.record.conclude("done", reason, result=result)


def _rows(work: Work, span: Window) -> pd.DataFrame:
    """The sampled rows without broken stretches, in an order that follows from them."""
    model, request = work.model, work.request
    with Source(model, work.config.limits) as source:
        frame = source.sample(span, known_by=request.known_at,
                              limit=int(request.options["rows"]))
    frame = ordered(frame)
    for start, end in request.exclude:
        times = frame["_timestamp"]
        frame = frame[(times < parse_time(start)) | (times >= parse_time(end))]
    if not len(frame):
        raise Refusal(f"no sound row in {span}")
    return frame.reset_index(drop=True)


def _sides(work: Work, frame: pd.DataFrame) -> list[Side]:
    """Champion and challenger, each by its ONNX file; a champion without one as it was logged."""
    request, model = work.request, work.model
    known = frame["_label"] if "_label" in frame else pd.Series([], dtype=object)
    classes = () if model.task == "regression" else class_values(known)
    pair = []
    for number in (request.champion or "", str(request.options["challenger"])):
        item = rival(number, work.registry, model=model, classes=classes,
                     folder=work.folder / "versions")
        if item is None or item.contract is None:
            raise Refusal(item.why if item else f"version {number} is gone from the registry")
        pair.append(item)
    if not pair[1].runnable:
        raise Refusal(f"{pair[1].name} cannot be run: {pair[1].why}")
    frame = usable(frame, [item.contract for item in pair if item.contract])
    if not pair[0].runnable:
        frame = _answered(frame, pair[0])
    return [_side(item, frame) for item in pair]


def _answered(frame: pd.DataFrame, champion: Rival) -> pd.DataFrame:
    """The rows whose answer by the champion is in the log."""
    fine = frame["_prediction"].notna() if "_prediction" in frame else pd.Series(
        False, index=frame.index)
    if "_version" in frame:
        fine &= frame["_version"] == champion.version.version
    if not fine.any():
        raise Refusal(f"{champion.name} cannot be run ({champion.why}) and no answer of it is "
                      "logged in this span")
    return frame[fine].reset_index(drop=True)


def _side(item: Rival, frame: pd.DataFrame) -> Side:
    assert item.contract is not None
    if item.artifact is None:
        return Side(item, frame, logged(frame, item.contract))
    rows = conform(frame, item.contract)
    return Side(item, rows, answer(session(item.artifact), rows, item.contract))


def _windows(work: Work, span: Window) -> list[Window]:
    """The span in windows of a day, or of the configured length where that is longer."""
    length = max(work.model.calendar.length, timedelta(days=1))
    starts = [span.start + place * length for place in range(-(-span.length // length))]
    return [Window(start, min(start + length, span.end)) for start in starts]


def _mature(work: Work, frame: pd.DataFrame, span: Window) -> Mask:
    """Labelled rows of windows whose labels are mature: quick labels alone would be biased."""
    found = np.zeros(len(frame), dtype=bool)
    if "_label" not in frame:
        return found
    labelled = frame["_label"].notna().to_numpy()
    rule, at = work.model.maturity, work.request.known_at
    for window in _windows(work, span):
        rows = _within(frame, window)
        if rows.any() and (window.end + rule.delay <= at or labelled[rows].mean() >= rule.ratio):
            found |= rows & labelled
    return found


def _within(frame: pd.DataFrame, window: Window) -> Mask:
    times = frame["_timestamp"]
    return ((times >= window.start) & (times < window.end)).to_numpy()


def _differing(sides: list[Side], rows: Mask) -> dict[str, Any]:
    """How often, or for numbers how far, the two answer differently, with a block interval."""
    one, other = (side.answers.predictions[rows] for side in sides)
    times = sides[0].frame["_timestamp"][rows].reset_index(drop=True)
    contract = sides[0].rival.contract
    assert contract is not None
    if contract.task == "regression":
        apart, name = np.abs(one.astype(float) - other.astype(float)), "distance"
    else:
        codes = [judged(replace(side.answers, predictions=side.answers.predictions[rows],
                                probability=None),
                        side.frame[rows].assign(_label=None), contract).answer for side in sides]
        apart, name = (codes[0] != codes[1]).astype(float), "differing"
    found = paired(apart, np.zeros(len(apart)), times)
    return {name: found.difference, f"{name}_low": found.low, f"{name}_high": found.high}


def _realized(work: Work, sides: list[Side], mature: Mask) -> dict[str, Any]:
    """Metrics of both on the mature rows, and the challenger's gain with its block interval."""
    if mature.sum() < LEAST:
        return {"realized": {}, "gain": None}
    asked = tuple(dict.fromkeys((work.model.metric, *(
        name for name in METRICS_OF[work.model.task] if name in METRICS))))
    one, other = (side.scores(mature, asked) for side in sides)
    realized = {role: {name: _plain(item) for name, item in scores.quality.items()
                       if item.value is not None}
                for role, scores in zip(ROLES, (one, other), strict=True)}
    metric = work.model.metric
    if metric in NEEDS_SHARES and (one.judged.share is None or other.judged.share is None):
        metric = "accuracy"
    return {"realized": realized, "gain": asdict(compare(one, other, metric)) | {"metric": metric}}


def _plain(item: Performance) -> dict[str, Any]:
    return {"value": item.value, "low": item.low, "high": item.high, "n": item.n}


@dataclass(frozen=True, slots=True)
class Expected:
    """A version's baseline, and the rows without mature labels as it answered them, by pane."""

    baseline: Baseline
    panes: dict[datetime, Profile]


def _profiles(work: Work, side: Side, rows: Mask, span: Window) -> Expected | None:
    """None where the version brings no baseline that estimates."""
    text = work.registry.baseline(side.rival.version)
    baseline = Baseline.from_json(text) if text else None
    if baseline is None or baseline.estimator is None or not rows.any():
        return None
    share = side.answers.probability
    part = replace(side.answers, predictions=side.answers.predictions[rows],
                   probability=None if share is None else share[rows])
    return Expected(baseline, counted(work, side.frame[rows].reset_index(drop=True), part,
                                      bins=baseline.bins, span=span))


def _estimate(work: Work, known: Expected | None, window: Window | None) -> dict[str, Any]:
    """{metric: what the labels of these rows are expected to say}; empty where that is unknown."""
    if known is None or known.baseline.estimator is None:
        return {}
    panes = [profile for start, profile in known.panes.items()
             if window is None or window.start <= start < window.end]
    if not panes:
        return {}
    counts = sum(panes, Profile.empty(known.baseline.bins)).counts
    found = known.baseline.estimator.estimate(counts, [work.model.metric])
    return {item.metric: _plain(item) for item in found if item.value is not None}


def _window(work: Work, sides: list[Side], known: list[Expected | None], *,
            place: tuple[Window, Mask]) -> dict[str, Any]:
    """One line of the scoreboard."""
    window, mature = place
    rows = _within(sides[0].frame, window)
    line: dict[str, Any] = {"start": isoformat(window.start), "end": isoformat(window.end),
                            "n": int(rows.sum()), "labelled": int((rows & mature).sum()),
                            "metric": work.model.metric}
    if rows.any():
        line |= _differing(sides, rows)
    line |= _realized(work, sides, rows & mature)
    line["estimated"] = {role: _estimate(work, item, window)
                         for role, item in zip(ROLES, known, strict=True)}
    return line


def _words(result: dict[str, Any]) -> str:
    """The scoreboard in a sentence."""
    pair = f"Version {result['challenger']} beside version {result['champion']}"
    apart = (f"{result['differing']:.1%} answered differently" if "differing" in result
             else f"{result['distance']:.4g} apart on average")
    gain = result["gain"]
    if gain is None:
        return (f"{pair}: {apart} of {result['n']} rows; {result['labelled']} of them have mature "
                "labels, too few to measure")
    return (f"{pair} on {gain['n']} rows with mature labels: {gain['metric']} better by "
            f"{gain['difference']:+.4f} (95 % interval {gain['low']:+.4f} to {gain['high']:+.4f}, "
            f"{gain['blocks']} time blocks); {apart} of {result['n']} rows")
