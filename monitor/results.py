"""Results: what a playback brought, as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from monitor.playback import Stage
from monitor.store import RequestRow
from monitor.window import Window

PERIOD_DAYS = 28


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of the playback: the first champion's score and that of whoever served."""

    start: str
    rows: int
    without: float
    with_holdfast: float


@dataclass(frozen=True, slots=True)
class Results:
    """The outcome of a playback; ``periods`` are scored by ``metric``."""

    windows: int
    revisions: int
    verdicts: dict[str, int]
    episodes: list[str]
    retrains: list[dict[str, Any]]
    served: list[tuple[str, str]]
    metric: str
    periods: list[Period]
    mean_of: str
    means: tuple[float, float] | None
    report: int | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """What a person reads at the end of the demo."""
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.verdicts.items()))
        lines = [
            f"windows    {self.windows} judged, {self.revisions} revisions ({counts})",
            f"alarms     {len(self.episodes)} episode{'' if len(self.episodes) == 1 else 's'}",
            *(f"           {text}" for text in self.episodes),
            f"retrains   {len(self.retrains)}",
            *(f"           {_retrain(item)}" for item in self.retrains),
            "serving    " + ", ".join(f"version {version} from {at}"
                                      for at, version in self.served),
            "",
            f"{'period from':<14}{'rows':>8}{'without':>10}{'with':>10}   ({self.metric} without "
            "and with holdfast)",
        ]
        lines += [
            f"{item.start:<14}{item.rows:>8}{item.without:>10.3f}{item.with_holdfast:>10.3f}"
            for item in self.periods
        ]
        if self.means:
            lines.append(f"{self.mean_of:<22}{self.means[0]:>10.3f}{self.means[1]:>10.3f}")
        return "\n".join(lines + _compression(self.retrains))


def results(stage: Stage, live: Window, drift: datetime | None) -> Results:
    """Read what happened from the store and score what was served."""
    store, name = stage.deps.store, stage.model.name
    lines = [row.line for row in store.verdicts(name, segment="")]
    first = [line for line in lines if line["revision"] == 0]
    kinds = [line["verdict"] for line in lines]
    scored = _scored(stage, live)
    reports = store.reports(name, 1)
    return Results(
        windows=len(first),
        revisions=len(lines) - len(first),
        verdicts={kind: kinds.count(kind) for kind in set(kinds)},
        episodes=[
            f"{item.opened:%Y-%m-%d} to "
            + (f"{item.closed:%Y-%m-%d}" if item.closed else "the end")
            + f": {item.reason}"
            for item in reversed(store.episodes(name))
        ],
        retrains=[
            _request(row) for row in reversed(store.requests(name)) if row.request.kind == "train"
        ],
        served=[(f"{at:%Y-%m-%d}", version) for at, version in stage.served],
        metric="mean absolute error" if stage.model.task == "regression" else "accuracy",
        periods=_periods(scored, live),
        mean_of="after the drift" if drift else "all live rows",
        means=_means(scored[scored["time"] >= (drift or live.start)]),
        report=reports[0].id if reports else None,
    )


def _scored(stage: Stage, live: Window) -> pd.DataFrame:
    """Per live row: its time, and the score without and with holdfast."""
    frame = stage.frame
    times = frame[stage.timestamp]
    rows = frame[(times >= live.start) & (times < live.end)]
    labels = rows[stage.label]
    first = stage.answers[stage.served[0][1]].loc[rows.index, "prediction"]
    used = first.copy()
    for at, version in stage.served[1:]:
        later = rows.index[rows[stage.timestamp] >= at]
        used.loc[later] = stage.answers[version].loc[later, "prediction"]
    score = _absolute if stage.model.task == "regression" else _correct
    return pd.DataFrame({
        "time": rows[stage.timestamp],
        "without": score(first, labels),
        "with": score(used, labels),
    })


def _correct(answers: pd.Series[Any], labels: pd.Series[Any]) -> pd.Series[float]:
    return (answers.astype(str) == labels.astype(str)).astype(float)


def _absolute(answers: pd.Series[Any], labels: pd.Series[Any]) -> pd.Series[float]:
    return (answers.astype(float) - labels.astype(float)).abs()


def _periods(scored: pd.DataFrame, live: Window) -> list[Period]:
    place = (scored["time"] - pd.Timestamp(live.start)) // pd.Timedelta(days=PERIOD_DAYS)
    periods = []
    for _, part in scored.groupby(place):
        without, used = _means(part) or (float("nan"), float("nan"))
        periods.append(Period(f"{part['time'].min():%Y-%m-%d}", len(part), without, used))
    return periods


def _means(part: pd.DataFrame) -> tuple[float, float] | None:
    return (float(part["without"].mean()), float(part["with"].mean())) if len(part) else None


def _request(row: RequestRow) -> dict[str, Any]:
    outcome = row.outcome or {}
    return {
        "at": f"{row.request.known_at:%Y-%m-%d}",
        "status": row.status,
        "version": outcome.get("version"),
        "why": row.request.reason,
        "reason": outcome.get("reason", ""),
        "result": outcome.get("result", {}),
    }


def _retrain(item: dict[str, Any]) -> str:
    made = f" version {item['version']}" if item["version"] else ""
    return f"{item['at']} {item['status']}{made}: {item['reason']}"


def _compression(retrains: list[dict[str, Any]]) -> list[str]:
    """Size and latency of the newest registered candidate as trained, and as chosen."""
    for item in reversed(retrains):
        points, chosen = item["result"].get("points") or {}, item["result"].get("point")
        if item["version"] and chosen in points:
            shown = dict.fromkeys(["torch", "fp32", chosen])
            title = f"version {item['version']}"
            head = f"{title:<22}{'size':>12}{'batch 1':>12}{'batch 256':>12}"
            return ["", head, *(_point(name, points[name], name == chosen)
                                for name in shown if name in points)]
    return []


def _point(name: str, point: dict[str, Any], chosen: bool) -> str:
    one, many = (point["latency"].get(batch) for batch in ("1", "256"))
    times = "".join(f"{value * 1e6:>9.0f} us" if value else f"{'':>12}" for value in (one, many))
    return (f"{name + (' (chosen)' if chosen else ''):<22}{point['size_bytes'] / 1024:>9.1f} kB"
            + times)
