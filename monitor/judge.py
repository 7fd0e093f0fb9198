"""Judge: one window's counts against the champion's baseline, as a verdict in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from monitor.acknowledgement import NOTHING, Spoken, spared
from monitor.baseline import Baseline
from monitor.bins import Role
from monitor.config import Model
from monitor.degradation import allowed, change, degraded
from monitor.drift import Comparison, DriftResult
from monitor.faults import Fault, find, ordered
from monitor.forecast import NO_FORECAST, Forecast, forecast
from monitor.freshness import Freshness, lateness, staleness
from monitor.groups import GroupGap
from monitor.losses import ErrorDrift, changed
from monitor.movement import NAMED, weighed
from monitor.movement import words as moved
from monitor.outcomes import Outcomes
from monitor.performance import METRICS_OF, Performance, measure, measure_all
from monitor.profile import Profile
from monitor.refutation import Check
from monitor.window import Window, format_duration

Kind = Literal["stable", "drifted", "degraded", "faulty", "unknown"]
News = Literal["inputs", "labels"]
INPUTS: tuple[Role, ...] = ("feature",)
WORTH_TELLING: tuple[Kind, ...] = ("degraded", "drifted")
"""Verdicts on segments that the verdict on all rows tells of."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one window and segment at one checkpoint.

    ``inputs`` counts all traffic, ``outputs`` and ``outcomes`` the rows that the champion
    answered; ``pooled`` are its newest matured outcomes up to the window's end, over
    ``pooled_span``. ``broken`` are (column, message) of columns that the log lost or retyped.
    ``units`` are columns that came in another unit, as the source confirmed; ``spoken`` is what
    people said.
    ``first`` is the baseline of the lineage's first version: what was promised in the beginning
    is not forgotten when a weaker version is promoted in worse times. ``rates`` and ``groups``
    are a segment's own rates and the gaps between all of them, ``findings`` the verdicts on
    segments that a verdict on all rows tells of. ``earlier`` are the (start, inputs, outputs) of
    windows before this one that were not faulty, oldest first. ``stream`` holds all matured
    outcomes of the longest pool.
    """

    window: Window
    segment: str
    revision: int
    known_at: datetime
    news: tuple[News, ...]
    inputs: Profile
    outputs: Profile
    outcomes: Outcomes
    mature: bool
    maturity: float | None
    pooled: Outcomes
    pooled_span: timedelta
    broken: tuple[tuple[str, str], ...]
    labelled: int
    first: Baseline
    rates: tuple[Performance, ...] = ()
    groups: tuple[GroupGap, ...] = ()
    findings: tuple[Verdict, ...] = ()
    units: tuple[Fault, ...] = ()
    earlier: tuple[tuple[datetime, Profile, Profile], ...] = ()
    check: Check | None = None
    """Whether the newest matured labels are what was estimated of them."""
    stream: Outcomes = field(default_factory=Outcomes)
    spoken: Spoken = NOTHING
    fresh: Freshness | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one window, version and segment at one checkpoint.

    ``inputs`` and ``quality`` are the two halves of ``kind``: what the values of the
    window say, and what its matured labels say. ``news`` names the halves that this
    revision newly speaks about. ``labelled`` counts matured labelled rows since the
    end of the reference. ``severity`` is the largest statistic over its threshold, ``settled``
    whether all lie so low that an episode of drift may close. ``answered`` counts the rows that
    the version answered.
    """

    model: str
    version: str
    segment: str
    window: Window
    revision: int
    known_at: datetime
    watermark: datetime
    arrival: Literal["logged", "assumed"]
    n: int
    label_maturity: float | None
    kind: Kind
    inputs: Literal["unknown", "stable", "drifted", "faulty"]
    quality: Literal["unknown", "stable", "degraded"]
    reason: str
    features: tuple[DriftResult, ...] = ()
    performance: tuple[Performance, ...] = ()
    faults: tuple[Fault, ...] = ()
    news: tuple[News, ...] = ()
    labelled: int = 0
    severity: float | None = None
    settled: bool = True
    groups: tuple[GroupGap, ...] = ()
    segments: tuple[Finding, ...] = ()
    estimate: Forecast = NO_FORECAST
    error_drift: ErrorDrift | None = None
    acknowledged: Literal["", "fault", "expected"] = ""
    fresh: Freshness | None = None
    answered: int | None = None
    promised: Promise | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """What the reference promises of the deciding metric, and from which value on it is missed.

    ``lost`` is how much of it is gone, in drops that count, against this promise or the first
    version's: from 1 on it is too much, though chance may explain it as long as the quality is not
    degraded.
    """

    metric: str
    value: float
    limit: float
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What the verdict on a segment of the same window says."""

    segment: str
    verdict: Kind
    reason: str


def judge(evidence: Evidence, baseline: Baseline, model: Model) -> Verdict:
    """The verdict on the evidence: faults first, then degradation, then drift.

    A segment is held against its own reference: a group that always was different has not
    drifted. Without one its verdict is unknown.
    """
    faults = () if evidence.segment else spared(ordered([
        *find(evidence.inputs, baseline, broken=evidence.broken, roles=INPUTS,
              expect=model.log.expect), *evidence.units, *_late(evidence, baseline, model)]),
        evidence.spoken)
    compared = _compared(evidence, baseline, model)
    features = compared.results
    performance, (worse, words), promised = _performance(evidence, baseline, model)
    stream = _error_drift(evidence, baseline, model)
    if stream and stream.found and not worse and model.policy.performance.error_drift == "alarm":
        worse, words = True, stream.words
    inputs = _inputs(evidence, faults, features, model)
    quality: Literal["unknown", "stable", "degraded"] = "unknown"
    if worse is not None:
        quality = "degraded" if worse else "stable"
    kind = _kind(inputs, quality, evidence)
    estimate = _estimate(evidence, inputs, baseline, model)
    return Verdict(
        model=model.name, version=baseline.version, segment=evidence.segment,
        window=evidence.window, revision=evidence.revision, known_at=evidence.known_at,
        watermark=evidence.known_at - model.calendar.lateness,
        arrival="logged" if model.log.ingested_at else "assumed",
        n=evidence.inputs.n, label_maturity=_rounded(evidence.maturity), kind=kind, inputs=inputs,
        quality=quality, features=features, performance=(*performance, *evidence.rates),
        faults=faults, news=evidence.news, labelled=evidence.labelled, groups=evidence.groups,
        reason=_acknowledged(
            evidence, _unknown(evidence, baseline, model) if kind == "unknown" else
            _reason(kind, faults, features, words, baseline=baseline,
                    length=evidence.window.length))
        + _told(estimate) + _errors(stream, words) + _others(evidence), estimate=estimate,
        error_drift=stream,
        severity=_rounded(compared.severity), settled=compared.calm,
        segments=tuple(Finding(item.segment, item.kind, item.reason)
                       for item in evidence.findings if item.kind in WORTH_TELLING),
        acknowledged=_said(evidence), fresh=evidence.fresh, answered=evidence.outputs.n,
        promised=promised)


def _late(evidence: Evidence, baseline: Baseline, model: Model) -> Iterator[Fault]:
    """Rows and labels that are later than they may be."""
    if evidence.fresh is not None:
        yield from staleness(evidence.fresh)
    if model.log.labelled and baseline.reference.n:
        yield from lateness(model, evidence.window, evidence.known_at, share=evidence.maturity,
                            usual=baseline.performance.n / baseline.reference.n,
                            rows=evidence.outputs.n)


def _said(evidence: Evidence) -> Literal["", "fault", "expected"]:
    here = evidence.spoken.here
    return "" if here is None or here.said == "undone" else here.said


def _compared(evidence: Evidence, baseline: Baseline, model: Model) -> Comparison:
    """Every statistic of inputs and answers; a segment's against its own reference."""
    answers: tuple[Role, ...] = ("prediction", "score", *(("label",) if evidence.mature else ()))
    if evidence.segment:
        return Comparison(tuple(
            result for profile, roles in ((evidence.inputs, INPUTS), (evidence.outputs, answers))
            for result in baseline.segments.drift(evidence.segment, profile, baseline.bins,
                                                  roles=roles, model=model)), None, True)
    start = evidence.window.start
    inputs = baseline.compared(evidence.inputs, roles=INPUTS, window=(
        start, [(before, profile) for before, profile, _ in evidence.earlier]))
    outputs = baseline.compared(evidence.outputs, roles=answers, window=(
        start, [(before, profile) for before, _, profile in evidence.earlier]))
    severities = [item.severity for item in (inputs, outputs) if item.severity is not None]
    return weighed(Comparison(inputs.results + outputs.results, max(severities, default=None),
                              inputs.calm and outputs.calm),
                   baseline.importance, model.policy.minimum_importance)


def _performance(evidence: Evidence, baseline: Baseline, model: Model
                 ) -> tuple[tuple[Performance, ...], tuple[bool | None, str], Promise | None]:
    """Metrics of the window and of the pool, whether the pool is worse than the reference, and
    what that promised."""
    if not evidence.mature or model.log.prediction is None:
        return (), (None, ""), None
    positive, pane = model.log.positive_label, model.calendar.pane
    certain = _level(evidence, baseline, model)
    own = measure_all(evidence.outcomes, METRICS_OF[model.task], positive=positive,
                      block=pane / 24, span=format_duration(evidence.window.length))
    pooled = measure(evidence.pooled, model.metric, positive=positive,
                     block=max(pane, timedelta(days=1)), level=certain,
                     span=format_duration(evidence.pooled_span))
    if not evidence.pooled and evidence.outcomes:
        pooled = replace(pooled, reason="this version has less than a week of matured labels")
    found: tuple[bool | None, str] = (None, "")
    told: Promise | None = None
    for promised in {item.version: item for item in (baseline, evidence.first)}.values():
        reference = measure(_promised(promised, evidence.segment), model.metric, level=certain,
                            positive=positive, block=max(pane, timedelta(days=1)))
        moved = change(pooled, reference, metric=model.metric, drop=model.policy.performance.drop)
        if reference.value is None or moved is None:
            continue
        told = told or Promise(model.metric, reference.value, allowed(
            reference.value, metric=model.metric, drop=model.policy.performance.drop))
        told = replace(told, lost=_rounded(max(told.lost, moved.drops)) or 0.0)
        if found[0]:
            continue
        worse, words = degraded(pooled, reference, metric=model.metric,
                                drop=model.policy.performance.drop)
        if worse or found[0] is None:
            found = worse, words + ("" if promised is baseline else
                                    f", as version {promised.version} promised in the beginning")
    return (pooled, *own), found, told


def _estimate(evidence: Evidence, inputs: str, baseline: Baseline, model: Model) -> Forecast:
    """What the window's labels are expected to say; of all rows, and not of broken ones."""
    if evidence.segment:
        return Forecast(reason="segments are not estimated")
    if inputs == "faulty":
        return Forecast(check=evidence.check, reason="the window's data is broken")
    return forecast(evidence.outputs, evidence.check, baseline, first=evidence.first, model=model)


def _told(estimate: Forecast) -> str:
    """What an estimate adds to the reason: degradation, or that estimates do not hold."""
    return f"; {estimate.reason}" if estimate.quality in {"degraded", "invalid"} else ""


def _promised(baseline: Baseline, segment: str) -> Outcomes:
    """The reference outcomes of all rows or of one segment; none where it has none of its own."""
    if not segment:
        return baseline.performance
    own = baseline.segments.held.get(segment)
    return Outcomes() if own is None else own.performance


def _level(evidence: Evidence, baseline: Baseline, model: Model) -> float:
    """The level of the intervals that decide: a segment's is corrected for their number.

    Whoever may alarm shares degradation's part of the budget.
    """
    groups = max(len(baseline.segments.held), 1) if evidence.segment else 1
    return 1 - (1 - baseline.interval_level) / (_parties(baseline, model) * groups)


def _parties(baseline: Baseline, model: Model) -> int:
    """Among how many degradation's half of the budget is divided: all rows, the segments and the
    stream of errors, each where it may alarm."""
    segments = model.policy.segments.alarm and bool(baseline.segments.held)
    return 1 + segments + (model.policy.performance.error_drift == "alarm")


def _error_drift(evidence: Evidence, baseline: Baseline, model: Model) -> ErrorDrift | None:
    """Whether the stream of errors changed; as rarely found by chance as the budget allows."""
    if not evidence.stream or not evidence.mature or model.log.prediction is None:
        return None
    alarms = model.policy.performance.error_drift == "alarm"
    return changed(baseline.performance, evidence.stream, model, until=evidence.window.end,
                   share=0.5 / (_parties(baseline, model) if alarms else 1))


def _errors(stream: ErrorDrift | None, words: str) -> str:
    """Error drift in words, where it is not the reason already."""
    return f"; {stream.words}" if stream and stream.found and stream.words != words else ""


def _inputs(evidence: Evidence, faults: tuple[Fault, ...], features: tuple[DriftResult, ...],
            model: Model) -> Literal["unknown", "stable", "drifted", "faulty"]:
    said = _said(evidence)
    if said == "fault" or any(fault.severity == "fault" for fault in faults):
        return "faulty"
    if not evidence.inputs.n or evidence.spoken.gathering:
        return "unknown"
    if said == "expected":
        return "stable"
    if evidence.segment and not any(result.threshold is not None for result in features):
        return "unknown"
    return "drifted" if any(result.drifted for result in features) else "stable"


def _kind(inputs: str, quality: str, evidence: Evidence) -> Kind:
    """One word for both halves; a revision that only brings labels is about the labels, and a
    segment with few rows in the window is judged on what its labels say."""
    if (evidence.segment or evidence.spoken.gathering) and inputs == "unknown":
        return quality  # type: ignore[return-value]
    if ("inputs" in evidence.news or quality == "unknown") and inputs in {"faulty", "unknown"}:
        return inputs  # type: ignore[return-value]
    if quality == "degraded":
        return "degraded"
    return inputs  # type: ignore[return-value]


def _unknown(evidence: Evidence, baseline: Baseline, model: Model) -> str:
    """Why nothing can be said."""
    least = model.policy.segments.min_rows
    if evidence.spoken.gathering:
        return evidence.spoken.gathering
    if not evidence.segment or not evidence.inputs.n:
        return "there are no rows in this window"
    if evidence.segment not in baseline.segments.held:
        rows = baseline.segments.small.get(evidence.segment)
        return ("this segment has no reference of its own"
                + ("" if rows is None else f": it had {rows} reference rows"))
    if evidence.inputs.n < least:
        return f"{evidence.inputs.n} rows in this window, {least} are asked for"
    return "the reference has too few windows of this segment to say how it varies"


def _others(evidence: Evidence) -> str:
    """The segments that moved or became worse, by name."""
    told = [f"{item.segment} {item.kind}" for item in evidence.findings
            if item.kind in WORTH_TELLING]
    if not told:
        return ""
    rest = f" and {len(told) - NAMED} more" if told[NAMED:] else ""
    return f"; of its segments: {', '.join(told[:NAMED])}{rest}"


def _acknowledged(evidence: Evidence, words: str) -> str:
    """The reason with what people said of the window, or of its inputs, before it."""
    spoken = evidence.spoken
    if spoken.here is not None and not evidence.segment:
        return spoken.here.words + (f": {words}" if words else "")
    return words if spoken.gathering in words else f"{words}; {spoken.gathering}"


def _reason(kind: Kind, faults: tuple[Fault, ...], features: tuple[DriftResult, ...],
            words: str, *, baseline: Baseline, length: timedelta) -> str:
    """Why, with the numbers, in a sentence or two."""
    if kind == "faulty":
        return "; ".join(fault.message for fault in faults if fault.severity == "fault")
    drift = moved(features, length, baseline.importance)
    if kind == "degraded":
        return words + (f"; {drift}" if drift else "")
    if kind == "drifted":
        return drift
    return words or "nothing moved beyond what the alarm budget allows"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
