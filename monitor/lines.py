"""Lines: a verdict as a JSON object, and how that is kept: a brief text for good, the rest packed.

A line is some 35 kB of text with 40 features, nearly all of it statistics that are looked at while
the window is new. The brief holds what is told of a window years later: what it was judged, why,
how severe it was, what moved most, the metric that decides with its interval. Both together are the
line, to the bit; without the rest it is thinned, and says so.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from monitor.canonical import compact, plain
from monitor.drift import DriftResult
from monitor.judge import Verdict
from monitor.state import Decision

WHOLE, PARTED, THINNED = 0, 1, 2
"""Forms of a row: all of it is in the text (before schema 0010); split in two; detail dropped."""
LEADING = 10
"""Drifted statistics that a brief names at most; where none drifted, the one nearest to it."""
COLUMNS = ("model", "version", "segment", "start", "end", "revision", "known_at", "kind")
"""Columns of a verdict's row that its text does not repeat."""
DETAIL = frozenset({"features", "estimated", "performance", "groups", "watermark", "news",
                    "freshness"})
"""What a thinned line does not tell, or not all of."""
ABSENT: dict[str, Any] = {
    "acknowledged": None, "answered": None, "arrival": "logged",
    "decision": {"action": "none", "reason": "nothing to do"}, "episode": None,
    "error_drift": None, "estimated": None, "faults": [], "features": [], "freshness": None,
    "groups": [], "label_maturity": None, "labelled": 0, "news": [], "performance": [],
    "promised": None, "segments": [], "severity": None, "watermark": None}
"""What stands for a key that a text leaves out."""

Line = dict[str, Any]


def line(verdict: Verdict, *, phase: str, episode: str | None,
         decision: Decision) -> Line:
    """The verdict as the JSON object that ``replay`` prints and the store keeps."""
    features = [{"name": item.feature, "statistic": item.statistic, "value": item.value,
                 "threshold": item.threshold, "error_bound": item.error_bound,
                 "drifted": item.drifted, "windows": item.windows, **_worth(item)}
                for item in verdict.features]
    found: Line = plain({
        "model": verdict.model, "version": verdict.version, "segment": verdict.segment,
        "start": verdict.window.start, "end": verdict.window.end, "revision": verdict.revision,
        "known_at": verdict.known_at, "watermark": verdict.watermark, "arrival": verdict.arrival,
        "label_maturity": verdict.label_maturity, "n": verdict.n,
        "answered": verdict.answered, "verdict": verdict.kind,
        "inputs": verdict.inputs, "quality": verdict.quality, "reason": verdict.reason,
        "news": verdict.news, "labelled": verdict.labelled, "severity": verdict.severity,
        "episode": episode, "phase": phase, "features": features,
        "performance": [asdict(item) for item in verdict.performance],
        "promised": None if verdict.promised is None else asdict(verdict.promised),
        "faults": [asdict(item) for item in verdict.faults],
        "estimated": asdict(verdict.estimate),
        "groups": [asdict(item) for item in verdict.groups],
        "segments": [asdict(item) for item in verdict.segments],
        "error_drift": None if verdict.error_drift is None else asdict(verdict.error_drift),
        "freshness": None if verdict.fresh is None else {
            "newest": verdict.fresh.newest, "limit": verdict.fresh.limit.total_seconds(),
            "stale": verdict.fresh.stale},
        "acknowledged": verdict.acknowledged or None,
        "decision": {"action": decision.action, "reason": decision.reason},
    })
    return found


def _worth(item: DriftResult) -> dict[str, float]:
    """The feature's importance, where it is known."""
    return {} if item.importance is None else {"importance": item.importance}


def parted(line: Line) -> tuple[str, bytes]:
    """The brief text of a line and its detail, packed; ``joined`` makes the line of them again."""
    detail: dict[str, Any] = {key: line[key] for key in DETAIL & line.keys() if key != "features"}
    if "features" in line:
        detail["features"] = _columns(line["features"])
    lacking = sorted(key for key in ABSENT if key not in line)
    if lacking:  # an older version knew nothing of them
        detail["lacking"] = lacking
    return compact(_brief(line)), zlib.compress(compact(detail).encode(), 6)


def joined(row: Mapping[str, Any], text: str, detail: bytes | None, form: int) -> Line:
    """The line of a row with ``COLUMNS``; keys in order, as they were when it was made."""
    held: Line = json.loads(text)
    if form == WHOLE:
        return held
    made = {**ABSENT, **{key: plain(row[key]) for key in COLUMNS if key != "kind"},
            "verdict": row["kind"], **held}
    if detail is None:
        made["thinned"] = form == THINNED
    else:
        told = json.loads(zlib.decompress(detail))
        lacking = told.pop("lacking", [])
        if "features" in told:
            told["features"] = _rows(told["features"])
        made |= told
        for key in lacking:
            del made[key]
    return dict(sorted(made.items()))


def _brief(line: Line) -> Line:
    kept = {key: value for key, value in line.items()
            if key not in DETAIL and key not in COLUMNS and key != "verdict"}
    kept |= {"features": leading(line.get("features", [])),
             "performance": deciding(line.get("performance", []))}
    guess = line.get("estimated")
    if guess and guess["quality"] == "degraded":
        kept["estimated"] = guess | {"performance": guess["performance"][:1]}
    fresh = line.get("freshness")
    if fresh and fresh["stale"]:
        kept["freshness"] = fresh
    return {key: value for key, value in kept.items()
            if key not in ABSENT or value != ABSENT[key]}


def leading(features: Sequence[Line]) -> list[Line]:
    """The statistics that drifted, the farthest beyond its threshold first, or else the one that
    came nearest."""
    tested = [item for item in features if item["value"] is not None and item["threshold"]]
    tested.sort(key=lambda item: (not item["drifted"], -item["value"] / item["threshold"]))
    drifted = sum(item["drifted"] for item in tested)
    return tested[:min(max(drifted, 1), LEADING)]


def deciding(performance: Sequence[Line]) -> list[Line]:
    """The metric that decides, and where it has no value the first that has one."""
    known = [item for item in performance if item["value"] is not None]
    return [*performance[:1], *(item for item in known[:1] if item not in performance[:1])]


def _columns(rows: Sequence[Line]) -> Line:
    """Objects turned into one list per key: names and thresholds repeat, and are packed well."""
    keys = sorted({key for row in rows for key in row})
    told: Line = {key: [row.get(key) for row in rows] for key in keys}
    missing = {key: places for key in keys
               if (places := [place for place, row in enumerate(rows) if key not in row])}
    return {"of": told, "rows": len(rows), "missing": missing}


def _rows(columns: Line) -> list[Line]:
    keys = list(columns["of"])
    rows = [dict(zip(keys, values, strict=True))
            for values in zip(*columns["of"].values(), strict=True)]
    rows = rows or [{} for _ in range(columns["rows"])]
    for key, places in columns["missing"].items():
        for place in places:
            del rows[place][key]
    return rows
