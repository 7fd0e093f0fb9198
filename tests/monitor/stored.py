"""A store in the middle of a story: models in several phases, with rows as the daemon writes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from monitor.binning import make_bins
from monitor.config import Config, load
from monitor.drift import DriftResult
from monitor.faults import Fault
from monitor.fidelity import FORM
from monitor.forecast import Forecast
from monitor.freshness import Freshness
from monitor.groups import GroupGap
from monitor.judge import Finding, Promise, Verdict
from monitor.losses import ErrorDrift
from monitor.outcomes import Outcomes
from monitor.performance import Performance
from monitor.refutation import Check
from monitor.request import Request
from monitor.source import Increment
from monitor.state import Decision, ModelState
from monitor.store import Score, Store
from monitor.window import Window, isoformat
from tests.monitor.counted import model as counted_model
from tests.monitor.counted import profile, summaries

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(days=14, hours=6)
"""When every model was looked at last."""
NOTHING_DONE = Decision("none", "nothing to do")
NAMES = ("electricity", "deliveries", "air-quality", "new-model", "quiet")


def configuration(folder: Path, *names: str, **extra: Any) -> Config:
    """A configuration of these models; their logs need not exist."""
    models = [{"name": name, "log": {"source": f"{name}/*.parquet", "timestamp": "at",
                                     "prediction": "answer", "label": "truth"}}
              for name in names or NAMES]
    file = folder / "holdfast.yaml"
    file.write_text(yaml.safe_dump({"models": models, **extra}))
    return load(file).config


def at(day: float) -> datetime:
    return START + day * DAY


def verdict(model: str, day: int, **change: Any) -> Verdict:
    """A calm verdict on one day; ``change`` replaces parts of it."""
    window = Window(at(day), at(day + 1))
    calm = Verdict(
        model=model, version="3", segment="", window=window, revision=0,
        known_at=window.end + HOUR, watermark=window.end, arrival="logged", n=4800,
        label_maturity=0.42, kind="stable", inputs="stable", quality="stable",
        reason="inputs as in the reference; accuracy .861 (.842 to .879) against .858",
        features=features(0.02), performance=performance(0.861), news=("inputs", "labels"),
        labelled=9000, severity=0.4, estimate=estimate(0.86),
        fresh=Freshness(window.end, DAY, False, timedelta(0)), answered=4700,
        promised=Promise("accuracy", 0.858, 0.828))
    return replace(calm, **change)


def features(price: float) -> tuple[DriftResult, ...]:
    """Statistics of five features, the price among them."""
    values = {"price": price, "demand": 0.031, "transfer": 0.045, "weekday": 0.004,
              "prediction:answer": price / 3}
    return tuple(DriftResult(name, "", "psi", value, 0.112, 0.0, 4800, value > 0.112,
                             importance=0.34 if name == "price" else None)
                 for name, value in values.items())


def estimate(accuracy: float) -> Forecast:
    """An estimate that the newest labels bear out."""
    told = Performance("accuracy", accuracy, accuracy - 0.012, accuracy + 0.011, 4800,
                       estimated=True, span="1d")
    return Forecast("stable", (told,), Check(
        "valid", "accuracy", 0.861, 0.849, 0.873, 33600,
        "accuracy of 33600 labelled rows is 0.861, 0.849 to 0.873 was estimated", "7d"))


def performance(accuracy: float) -> tuple[Performance, ...]:
    return (Performance("accuracy", accuracy, accuracy - 0.019, accuracy + 0.018, 33600,
                        span="7d"),
            Performance("roc_auc", None, None, None, 0, span="7d", reason="no scores are logged"))


def _quiet(store: Store, model: str, days: int) -> int:
    """A model that has been stable for so many days."""
    state = ModelState(phase="stable", since=at(0), champion="3", inputs="stable",
                       quality="stable", adopted_at=at(0))
    number = store.advance(model, 0, replace(state, phase="unknown"), at=at(0),
                           cause="version 3 is the champion")
    store.adopt(model, "3", at(0), key="k")
    for day in range(days):
        made = verdict(model, day)
        number = store.advance(model, number, state, folded_to=made.known_at, at=made.known_at,
                               verdicts=[(made, "stable", None, Decision("none", "nothing to do"))],
                               cause=made.reason)
    store.ticked(model, NOW, 0.8, True)
    return number


def _electricity(store: Store, name: str) -> None:
    """Drifted, then degraded: a challenger waits for a person."""
    number = _quiet(store, name, 12)
    episode = f"{name}/{isoformat(at(12))}"
    drifted = verdict(name, 12, kind="drifted", inputs="drifted", features=features(0.41),
                      reason="price moved: psi 0.41, the alarm budget allows 0.112")
    worse = verdict(name, 13, kind="degraded", inputs="drifted", quality="degraded",
                    label_maturity=0.97, features=features(0.63), performance=performance(0.771),
                    estimate=replace(estimate(0.78), quality="degraded"),
                    reason="accuracy .771 (.752 to .789) over 7d, the reference promises .858 and "
                           "0.03 less is too bad; price moved: psi 0.63, 0.112 is allowed")
    weekend = replace(drifted, segment="weekday=6", n=680)
    monday = replace(worse, segment="weekday=0", n=702, performance=(
        Performance("accuracy", 0.72, 0.69, 0.75, 702, span="28d"),
        Performance("selection_rate", 0.44, 0.41, 0.47, 702, span="28d")))
    gap = GroupGap("weekday", "demographic_parity_difference", 0.12, 0.07, 0.17, 0.95, 1e-4,
                   "0", "6", {"0": 702, "6": 680}, certain=True)
    worse = replace(worse, groups=(gap,), error_drift=ErrorDrift(
                        "error rate", at(10), 0.25, 0.14, 800.0, 360.0, 19200, True),
                    segments=(Finding("weekday=0", "degraded", monday.reason),))
    state = ModelState(phase="retraining", since=worse.known_at, champion="3", inputs="drifted",
                       quality="degraded", episode=episode, adopted_at=at(0))
    number = store.advance(
        name, number, state, folded_to=worse.known_at, at=worse.known_at, cause="verdicts",
        verdicts=[(drifted, "suspect", episode, Decision("alarm", drifted.reason)),
                  (weekend, "suspect", episode, Decision("none", "segments inform")),
                  (worse, "retraining", episode, Decision("retrain", worse.reason)),
                  (monday, "retraining", episode, Decision("none", "segments inform"))])
    waiting = store.pending(name)
    assert waiting is not None
    request = Request(f"{name}-20260315T010000Z", "train", name, "holdfast.yaml",
                      worse.known_at, worse.reason, "3", ("1",))
    store.request(request, waiting.id)
    store.attempt(request.request_id)
    store.conclude(request.request_id, "registered", {
        "version": "4", "reason": "accuracy .848 against .771 of version 3 on the same 12,480 rows "
                                  "(difference .061 to .092); 3.8 times smaller",
        "result": {"metric": "accuracy", "cost": {"size_bytes": 81_344},
                   "holdout": {"champion": {"value": 0.771}, "candidate": {"value": 0.848}},
                   "ladder": [{"rung": "recalibrate", "cpu_seconds": 0.7, "holdout_gain": None},
                              {"rung": "finetune", "cpu_seconds": 41.5, "holdout_gain": 0.077}]}})
    store.advance(name, number, replace(state, phase="awaiting_promotion",
                                                 challenger="4", since=at(14.2)),
                  at=at(14.2), cause="version 4 passed the gate")
    _beside(store, name)
    _audited(store, name)
    row = store.verdicts(name, segment="", newest=1)[0]
    store.save_report(name, row.id, "runs:/abc/reports/report.html", "/no/such/file.html")


def _beside(store: Store, name: str) -> None:
    """Version 4 waits beside version 3: one window with labels, one without."""
    told = {"metric": "accuracy", "champion": "3", "challenger": "4", "n": 4800}
    measured = {"realized": {"champion": {"accuracy": part(0.77)},
                             "challenger": {"accuracy": part(0.84)}},
                "gain": {"metric": "accuracy", "difference": 0.07, "low": 0.05, "high": 0.09,
                         "blocks": 4, "block": "6h", "n": 2400}}
    expected = {"estimated": {"champion": {}, "challenger": {"accuracy": part(0.85)}}}
    store.save_scores(name, "shadow_window", ("4", "3"), [
        Score(Window(at(12), at(13)), at(14.2), told | measured | {
            "start": isoformat(at(12)), "end": isoformat(at(13)), "labelled": 2400,
            "differing": 0.12, "estimated": {"champion": {}, "challenger": {}}}),
        Score(Window(at(13), at(14)), at(14.2), told | expected | {
            "start": isoformat(at(13)), "end": isoformat(at(14)), "labelled": 0,
            "differing": 0.25, "realized": {}, "gain": None})])
    store.save_scores(name, "shadow", ("4", "3"), [Score(
        Window(at(12), at(14)), at(14.2), told | measured | expected | {
            "start": isoformat(at(12)), "end": isoformat(at(14)), "labelled": 2400,
            "differing": 0.18, "words": "Version 4 beside version 3 on 2400 rows with mature "
                                        "labels: accuracy better by +0.0700"})])


def compressed(version: str = "3", **change: Any) -> dict[str, Any]:
    """What was found of a compressed champion: beyond its limit, in one segment most of all."""
    whole = {"value": 0.04, "low": 0.03, "high": 0.05, "n": 2000, "limit": 0.01, "crossed": True}
    return {"purpose": "compression", "version": version, "n": 2000, "unit": "share",
            "since": isoformat(at(0)), "until": isoformat(at(3)), "calibrated": True,
            "disagreement": whole,
            "outside": {**whole, "value": 0.002, "low": 0.0, "high": 0.01, "crossed": False},
            "features": {"price": 0.002},
            "segments": [{"segment": "weekday=6", "value": 0.1, "low": 0.06, "high": 0.2,
                          "n": 280, "crossed": True}],
            "words": f"Version {version} answers 4.00% of 2000 rows otherwise than its "
                     "uncompressed form "
                     "(limit 1.00%: CROSSED)", **change}


def part(value: float) -> dict[str, float]:
    """A metric of one side of a scoreboard."""
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "n": 2400}


def _audited(store: Store, name: str) -> None:
    """Champion and challenger on a golden set, the challenger under its floor."""
    asked = Request(f"{name}-audit-20260315T060000", "score", name, "holdfast.yaml",
                    at(14.25), "asked for by hand", "3", options={"purpose": "audit"})
    store.request(asked)
    scores = [{"benchmark": "hard-cases", "role": role, "version": version, "metric": "accuracy",
               "value": value, "low": value - 0.03, "high": value + 0.03, "n": 800,
               "under": value < 0.7}
              for role, version, value in (("champion", "3", 0.74), ("challenger", "4", 0.69))]
    store.conclude(asked.request_id, "done", {"reason": "told", "result": {
        "metric": "accuracy", "scores": scores, "gains": [
            {"benchmark": "hard-cases", "metric": "accuracy", "gain": -0.05, "low": -0.08,
             "high": -0.02}]}})


def _faulty(store: Store, name: str) -> None:
    """Broken data, and a source that does not answer."""
    number = _quiet(store, name, 5)
    faults = (Fault("all_null", "PM10", "fault", "every one of 1,104 values is null"),
              Fault("unit", "temperature", "fault", "looks like Fahrenheit in place of Celsius"),
              Fault("unseen", "station", "warning", "8 % of the values are new", 0.08, 0.05))
    broken = verdict(name, 5, kind="faulty", inputs="faulty", quality="unknown", n=1104,
                     label_maturity=None, features=(), performance=(), faults=faults,
                     reason="PM10: every one of 1,104 values is null; temperature: looks like "
                            "Fahrenheit in place of Celsius")
    store.advance(name, number, ModelState(
        phase="faulty", since=broken.known_at, champion="3", inputs="faulty", adopted_at=at(0)),
        folded_to=broken.known_at, at=broken.known_at, cause=broken.reason,
        verdicts=[(broken, "faulty", None, Decision("none", "nothing to do"))])
    store.trouble(name, at(6.1), "SourceError",
                  "postgresql://air:hunter2@db/air: the connection was refused")
    store.ticked(name, NOW, 10.2, False)


def _deliveries(store: Store, name: str) -> None:
    """A promoted version on probation."""
    number = _quiet(store, name, 9)
    store.adopt(name, "4", at(9), key="k")
    store.advance(name, number, ModelState(
        phase="probation", since=at(9), champion="4", predecessor="3", adopted_at=at(9),
        cooldown_until=at(23)), at=at(9), cause="version 4 was promoted")


def counted(store: Store, model: str = "electricity") -> None:
    """Counts of three columns in the reference, and in the day of the newest verdict."""
    rng = np.random.default_rng(7)
    before, now = (pd.DataFrame({
        "price": rng.normal(mean, 10, 3000), "demand": rng.gamma(4, 100, 3000),
        "weekday": rng.choice([str(day) for day in range(7)], 3000)}) for mean in (50, 64))
    now.loc[:299, "demand"] = None
    bins, aside = make_bins(summaries(before, list(before)), counted_model())
    assert not aside
    whole = profile(before, bins)
    store.save_baseline(model, "3", "k", json.dumps({
        "bins": bins.to_dict(), "reference": [*whole.tallies, *whole.counts.tolist()]}))
    store.save_counts(model, "k", [Increment(at(13), at(14), "3", "", profile(now, bins),
                                             Outcomes({}, {}))], until=at(14), fingerprint="f")


def fill(store: Store) -> None:
    """Write the story of all ``NAMES``; nothing is known yet of ``new-model``."""
    tell(store)
    _quiet(store, "quiet", 3)
    store.save_scores("quiet", "compression", ("3", FORM), [
        Score(Window(at(0), at(3)), at(3) + HOUR, compressed())])


def tell(store: Store, more: str = "") -> None:
    """Three models in the phases in which most is known of one; ``more`` ends their names."""
    _electricity(store, f"electricity{more}")
    _faulty(store, f"air-quality{more}")
    _deliveries(store, f"deliveries{more}")
