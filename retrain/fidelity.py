"""Fidelity: does a compressed version still answer as it did before it was made small?

Two shares of rows: those that the two answer differently (for numbers: how far apart, in standard
deviations of the label), and those with a number outside the ranges that int8 was calibrated on.
What both are on the rows that followed the calibration sets the limits, kept with the version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from monitor.expectations import canonical
from monitor.registry import FOLDER, Outcome
from monitor.sampling import SEGMENT
from monitor.source import Source
from monitor.window import Window, isoformat, parse_time
from retrain.contract import Contract
from retrain.dataset import Refusal, conform, ordered, usable
from retrain.evaluate import Answers, answer, judged, paired, session
from retrain.players import PARENT, UNCOMPRESSED
from retrain.proposal import Proposal
from retrain.rivals import rival
from retrain.work import Work

CALIBRATION = "calibration.json"
"""Artifact of a run: ranges and limits of a version that was registered quantized."""

LEVEL = 0.99
"""Level of the intervals that limits and crossings are told by: it is looked at every day."""
LEAST = 30
"""Rows below which nothing is said."""
SHOWN = 20
"""Segments and features that are told of, the largest or worst ones."""

Flags = NDArray[np.float64]


def limits(artifact: Path, before: Path, contract: Contract, *, ranges: pd.DataFrame | None,
           later: pd.DataFrame) -> dict[str, Any]:
    """What is kept with a version: ranges of the rows that int8 was calibrated on (None where it
    was not), and both measures on the rows that followed them, ``later`` (labelled), with the
    limits that live rows are held against; ``before`` is it uncompressed."""
    scale = float(pd.to_numeric(later["_label"]).std()) if contract.task == "regression" else None
    known = {} if ranges is None else span_of(ranges, contract)
    times = later["_timestamp"].reset_index(drop=True)
    pair = [answer(session(path), later, contract) for path in (artifact, before)]
    apart = measured(differing(pair, contract, scale), times, share=scale is None)
    found = {"rows": 0 if ranges is None else len(ranges), "checked": len(later), "ranges": known,
             "scale": scale, "level": LEVEL, "disagreement": apart | {"limit": apart["high"]}}
    if ranges is not None:
        outside = measured(leaving(later, known)[0], times)
        found["outside"] = outside | {"limit": outside["high"]}
    return found


def keep(work: Work, contract: Contract, proposal: Proposal, *, ranges: pd.DataFrame,
         later: pd.DataFrame) -> None:
    """Log the limits of a compressed candidate with the run."""
    before = proposal.whole or proposal.parent
    if before is not None and len(later) >= LEAST:
        work.record.json(CALIBRATION, limits(
            proposal.artifact, before, contract, later=later,
            ranges=None if proposal.parent is None else ranges), exact=True)


def span_of(frame: pd.DataFrame, contract: Contract) -> dict[str, tuple[float, float]]:
    """Smallest and largest number of each numeric input that holds any."""
    found = {}
    for name, kind in contract.inputs.items():
        if kind in {"double", "float", "long", "integer"}:
            values = pd.to_numeric(frame[name], errors="coerce")
            if values.notna().any():
                found[name] = (float(values.min()), float(values.max()))
    return found


def leaving(frame: pd.DataFrame, ranges: Mapping[str, Any]) -> tuple[Flags, dict[str, float]]:
    """Per row whether any number lies outside its range, and the share per input."""
    beyond = {}
    for name, (low, high) in ranges.items():
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        beyond[name] = (values < low) | (values > high)  # NaN is neither
    whole = np.any(list(beyond.values()), axis=0) if beyond else np.zeros(len(frame), dtype=bool)
    return whole.astype(np.float64), {name: float(one.mean()) for name, one in beyond.items()}


def differing(pair: list[Answers], contract: Contract, scale: float | None) -> Flags:
    """Per row whether the classes differ, or how far values lie apart in units of ``scale``."""
    if contract.task == "regression":
        one, other = (item.predictions.astype(np.float64) for item in pair)
        return np.asarray(np.abs(one - other) / (scale or 1.0))
    blank = pd.DataFrame({"_label": [None] * len(pair[0].predictions)})
    codes = [judged(replace(item, probability=None), blank, contract).answer for item in pair]
    return np.asarray(codes[0] != codes[1], dtype=np.float64)


def measured(values: Flags, times: pd.Series, *, share: bool = True, level: float = LEVEL
             ) -> dict[str, Any]:
    """The mean with an interval that holds for rows that come in blocks of time.

    For a share it is the wider one of that and Clopper and Pearson's exact one (1934), as blocks
    without any event tell nothing.
    """
    found = paired(values, np.zeros(len(values)), times, level=level)
    low, high = found.low, found.high
    if share:
        exact = stats.binomtest(int(values.sum()), len(values)).proportion_ci(level, "exact")
        low, high = min(low, float(exact.low)), max(high, float(exact.high))
    return {"value": found.difference, "low": max(low, 0.0), "high": high, "n": len(values)}


@dataclass(frozen=True, slots=True)
class Live:
    """Sampled rows as both forms answered them, and what the version's calibration promised."""

    frame: pd.DataFrame
    apart: Flags
    outside: Flags | None
    features: dict[str, float]
    promised: dict[str, Any]
    share: bool

    def measure(self, name: str, values: Flags | None) -> dict[str, Any] | None:
        """One measure against its limit; ``crossed`` only if its whole interval lies above."""
        if values is None:
            return None
        found = measured(values, self.frame["_timestamp"],
                         share=self.share or name == "outside")
        limit = self.promised.get(name, {}).get("limit")
        return found | {"limit": limit, "crossed": limit is not None and found["low"] > limit}


def fidelity(work: Work) -> Outcome:
    """The champion beside its uncompressed form on a bounded sample of recent rows; no label is
    needed."""
    request, options = work.request, work.request.options
    span = Window(parse_time(options["since"]), parse_time(options["until"]))
    work.steps.next(f"version {request.champion} and its uncompressed form on rows of {span}")
    live = _live(work, span)
    if live is None:
        reason = (f"version {request.champion} has no uncompressed form to compare with: "
                  f"neither {FOLDER}/{UNCOMPRESSED} nor {FOLDER}/{PARENT} is in its run")
        return work.record.conclude("refused", reason, result={"again": False})
    work.steps.next(f"{len(live.frame)} rows, by segment")
    worst = sorted(live.features.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    result = {"purpose": "compression", "version": request.champion, "n": len(live.frame),
              "since": isoformat(span.start), "until": isoformat(span.end),
              "unit": "share" if live.share else "sd",
              "disagreement": live.measure("disagreement", live.apart),
              "outside": live.measure("outside", live.outside),
              "features": {name: share for name, share in worst if share > 0},
              "segments": list(_segments(work, live)), "calibrated": bool(live.promised)}
    reason = words(result)
    work.steps.note(reason)
    return work.record.conclude("done", reason, result=result)


def _live(work: Work, span: Window) -> Live | None:
    """None where no uncompressed form was kept."""
    request, model = work.request, work.model
    item = rival(request.champion or "", work.registry, model=model, classes=(),
                 folder=work.folder / "versions")
    if item is None or item.artifact is None or item.contract is None:
        raise Refusal(item.why if item else f"version {request.champion} is gone")
    run = item.version.run_id
    content = next((found for name in (UNCOMPRESSED, PARENT) if (
        found := work.registry.artifact_bytes(run, f"{FOLDER}/{name}")) is not None), None)
    if content is None:
        return None
    before = work.folder / UNCOMPRESSED
    before.write_bytes(content)
    promised = json.loads(work.registry.artifact(run, f"{FOLDER}/{CALIBRATION}") or "{}")
    with Source(model, work.config.limits) as source:
        frame = source.sample(span, known_by=request.known_at, limit=int(request.options["rows"]))
    frame = usable(_sound(ordered(frame), work), [item.contract])
    if len(frame) < LEAST:
        raise Refusal(f"{len(frame)} sound rows in {span}, at least {LEAST} are needed")
    rows = conform(frame, item.contract)
    pair = [answer(session(path), rows, item.contract) for path in (item.artifact, before)]
    scale = promised.get("scale") or float(np.std(pair[1].predictions.astype(float))) \
        if item.contract.task == "regression" else None
    known = promised.get("ranges")
    outside, features = leaving(rows, known) if known else (None, {})
    return Live(frame, differing(pair, item.contract, scale), outside, features, promised,
                share=scale is None)


def _sound(frame: pd.DataFrame, work: Work) -> pd.DataFrame:
    for start, end in work.request.exclude:
        times = frame["_timestamp"]
        frame = frame[(times < parse_time(start)) | (times >= parse_time(end))]
    return frame.reset_index(drop=True)


def _segments(work: Work, live: Live) -> Iterator[dict[str, Any]]:
    """The disagreement of the largest declared groups, at a level that holds for all of them."""
    model, frame = work.model, live.frame
    least = max(model.policy.segments.min_rows, model.privacy.min_count)
    groups: dict[str, NDArray[np.bool_]] = {}
    for name in model.log.segments:
        column = name if name in frame else f"{SEGMENT}{name}"
        if column in frame:
            texts = frame[column].map(canonical, na_action="ignore")
            counts = texts.value_counts()
            groups |= {f"{name}={value}": (texts == value).to_numpy()
                       for value in counts.index[counts >= least]}
    chosen = sorted(groups, key=lambda name: (-int(groups[name].sum()), name))[:SHOWN]
    level = 1 - (1 - LEVEL) / max(len(chosen), 1)
    limit = live.promised.get("disagreement", {}).get("limit")
    for name in chosen:
        rows = groups[name]
        found = measured(live.apart[rows], frame["_timestamp"][rows].reset_index(drop=True),
                         share=live.share, level=level)
        yield {"segment": name, **found,
               "crossed": limit is not None and found["low"] > limit}


def words(result: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    apart, outside = result["disagreement"], result["outside"]
    told = (f"answers {apart['value']:.2%} of {result['n']} rows otherwise than its "
            "uncompressed form"
            if result["unit"] == "share" else
            f"lies {apart['value']:.4f} standard deviations from its uncompressed form on "
            f"{result['n']} rows")
    parts = [told + _against(apart, result["unit"])]
    if outside is not None:
        parts.append(f"{outside['value']:.2%} of them lie outside its calibration"
                     + _against(outside, "share"))
    worse = [item["segment"] for item in result["segments"] if item["crossed"]]
    if worse:
        parts.append(f"beyond the limit in {', '.join(worse)}")
    return f"Version {result['version']} {'; '.join(parts)}"


def _against(item: dict[str, Any], unit: str) -> str:
    if item["limit"] is None:
        return ""
    limit = f"{item['limit']:.2%}" if unit == "share" else f"{item['limit']:.4f}"
    return (f" (limit {limit}: CROSSED)" if item["crossed"] else f" (limit {limit})")

