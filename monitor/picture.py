"""Picture: one lane per policy with performance over time, alarms, retrains and degradations.

Matplotlib is imported here, when a picture is asked for, and never where the daemon runs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from monitor.performance import RELATIVE
from monitor.window import EPOCH, parse_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ink:
    """Colours of one theme; every meaning has a shape or a place of its own beside its colour."""

    ground: str
    text: str
    soft: str
    grid: str
    line: str
    alarm: str
    loss: str
    act: str


LIGHT = Ink("#ffffff", "#1d2329", "#5a646e", "#e1e3e1", "#2b61a8", "#c98a1b", "#b3322b", "#1f7a4d")
DARK = Ink("#1c2024", "#e6e8e9", "#9ca5ad", "#30363b", "#7fb0ef", "#dda548", "#ee8178", "#5cbf8c")

WIDTH, LANE, FRAME = 9.6, 1.75, 1.05
"""Inches: the picture's width, a lane's height, and what title and legend take."""
STRIP = 0.1
"""Share of a lane's height that the strip of alarms takes."""


def draw(reports: Sequence[Report], ink: Ink = LIGHT) -> bytes:
    """The picture as a PNG: the same reports give the same picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, FRAME + LANE * len(reports)), dpi=110, facecolor=ink.ground)
    FigureCanvasAgg(figure)
    lanes = figure.subplots(len(reports), 1, sharex=True, squeeze=False)[:, 0]
    low, high = _range(reports)
    for axes, report in zip(lanes, reports, strict=True):
        _lane(axes, report, ink, (low, high))
    _dates(lanes[-1], reports[0], ink)
    _framed(figure, reports, ink)
    made = io.BytesIO()
    figure.savefig(made, format="png", metadata={"Software": None})
    return made.getvalue()


def words(reports: Sequence[Report]) -> str:
    """What the picture shows, for those who do not see it."""
    first = reports[0]
    told = [f"{report['policy']}: {headline(report)}" for report in reports]
    return (f"One lane per policy from {first['from'][:10]} to {first['to'][:10]}: "
            f"{first['metric']} of the newest week as a line, its reference dashed, degradations "
            "shaded, alarms as a strip, retrains and promotions as marks. "
            f"{'; '.join(told)}.")


def headline(report: Report) -> str:
    """A policy in a line."""
    sums, value = report["sums"], report["performance"]["value"]
    told = [] if value is None else [f"{report['metric']} {value:.3f}"]
    told.append(f"{counted(sums['alarms'], 'alarm')} ({sums['false_alarms']} false)")
    if value is not None:
        told.append(f"{sums['missed']} of {counted(sums['degradations'], 'degradation')} missed")
    told.append(counted(sums["trainings"], "training") if report["acted"] else
                f"{counted(sums['asked'], 'retrain')} asked for")
    return ", ".join(told)


def counted(number: int, noun: str) -> str:
    """``1 alarm``, ``2 alarms``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _range(reports: Sequence[Report]) -> tuple[float, float]:
    """The heights that all lanes share."""
    values = [value for report in reports for _, value in report["timeline"]]
    for report in reports:
        if report["reference"]["value"] is not None:
            values += [report["reference"]["value"], _border(report)]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = max(high - low, 1e-9) * 0.12
    return low - 2.2 * room, high + 1.6 * room


def _border(report: Report) -> float:
    """The value from which on the model is too bad."""
    reference, drop = report["reference"]["value"], report["drop"]
    least = drop * abs(reference) if report["metric"] in RELATIVE else drop
    return float(reference - least if report["more_is_better"] else reference + least)


def _lane(axes: Axes, report: Report, ink: Ink, height: tuple[float, float]) -> None:
    axes.set_facecolor(ink.ground)
    axes.set_ylim(*height)
    axes.set_xlim(_at(report["from"]), _at(report["to"]))
    for item in report["degradations"]:
        axes.axvspan(_at(item["start"]), _at(item["end"]), color=ink.loss, alpha=0.16, lw=0)
        if item["fate"] == "missed":
            axes.axvspan(_at(item["start"]), _at(item["end"]), fill=False, hatch="////",
                         edgecolor=ink.loss, alpha=0.55, lw=0)
    if report["reference"]["value"] is not None:
        axes.axhline(report["reference"]["value"], color=ink.soft, lw=0.9, ls=(0, (5, 3)))
        axes.axhline(_border(report), color=ink.soft, lw=0.9, ls=(0, (1, 2)))
    ends = [_at(at) + 1 for at, _ in report["timeline"]]
    axes.plot(ends, [value for _, value in report["timeline"]], color=ink.line, lw=1.8)
    _alarms(axes, report, ink)
    _marks(axes, report, ink)
    axes.set_title(report["policy"], loc="left", fontsize=11, fontweight="bold", color=ink.text)
    axes.set_title(headline(report), loc="right", fontsize=8.5, color=ink.soft)
    axes.set_ylabel(report["metric"], fontsize=8.5, color=ink.soft)
    axes.tick_params(colors=ink.soft, labelsize=8.5, length=3)
    axes.grid(axis="y", color=ink.grid, lw=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(ink.grid)


def _alarms(axes: Axes, report: Report, ink: Ink) -> None:
    """A strip along the lane's foot, open where no loss came with the alarm."""
    low, high = axes.get_ylim()
    foot = STRIP * (high - low)
    for item in report["alarms"]:
        start, end = _at(item["opened"]), _at(item["closed"] or report["to"])
        false = item["worth"] == "false"
        axes.broken_barh([(start, end - start)], (low, foot),
                         facecolor="none" if false else ink.alarm, edgecolor=ink.alarm,
                         hatch="\\\\\\\\" if false else None, lw=0.8)


def _marks(axes: Axes, report: Report, ink: Ink) -> None:
    """Retrains as triangles above, filled where a version came of them; moves as lines."""
    low, high = axes.get_ylim()
    top, span = high - 0.07 * (high - low), _at(report["to"]) - _at(report["from"])
    for item in report["moves"][1:]:
        back = item["kind"] == "rollback"
        axes.axvline(_at(item["at"]), color=ink.loss if back else ink.act, lw=1.2,
                     ls="--" if back else "-")
        late = _at(item["at"]) > _at(report["to"]) - 0.04 * span
        axes.text(_at(item["at"]), low + 0.13 * (high - low), f" v{item['version']} ", fontsize=8,
                  color=ink.loss if back else ink.act, ha="right" if late else "left", va="bottom")
    for item in [*report["retrains"], *report["asked"]]:
        ended = item.get("ended", "asked")
        made = ended in {"registered", "recalled"}
        axes.plot([_at(item["at"])], [top], marker="D" if ended == "recalled" else "v",
                  ms=6.5, mec=ink.act if made else ink.soft, mfc=ink.act if made else ink.ground,
                  clip_on=False, zorder=5)


def _dates(axes: Axes, report: Report, ink: Ink) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    places = AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(places)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(places))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set_color(ink.soft)
    axes.xaxis.get_offset_text().set_fontsize(8.5)


def _framed(figure: Figure, reports: Sequence[Report], ink: Ink) -> None:
    """Title above, what every shape means below."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    first = reports[0]
    inches = FRAME + LANE * len(reports)
    figure.suptitle(f"{first['model']}, {first['from'][:10]} to {first['to'][:10]}", x=0.012,
                    y=1 - 0.1 / inches, ha="left", va="top", fontsize=12, color=ink.text,
                    fontweight="bold")
    shapes: list[Any] = [
        Line2D([], [], color=ink.line, lw=1.8, label=f"{first['metric']}, newest week"),
        Line2D([], [], color=ink.soft, lw=0.9, ls=(0, (5, 3)), label="reference"),
        Line2D([], [], color=ink.soft, lw=0.9, ls=(0, (1, 2)), label="too bad"),
        Patch(facecolor=ink.loss, alpha=0.2, label="degraded"),
        Patch(facecolor="none", edgecolor=ink.loss, hatch="////", lw=0, label="missed"),
        Patch(facecolor=ink.alarm, label="alarm"),
        Patch(facecolor="none", edgecolor=ink.alarm, hatch="\\\\\\\\", label="false alarm"),
        Line2D([], [], color=ink.act, marker="v", ls="", ms=6.5, label="retrain: new version"),
        Line2D([], [], color=ink.soft, marker="v", ls="", ms=6.5, mfc=ink.ground,
               label="refused" if first["acted"] else "asked for"),
        Line2D([], [], color=ink.act, lw=1.2, label="promotion"),
        Line2D([], [], color=ink.loss, lw=1.2, ls="--", label="rollback"),
    ]
    if not first["acted"]:
        shapes = [item for item in shapes
                  if item.get_label() not in {"retrain: new version", "promotion", "rollback"}]
    elif any(item["ended"] == "recalled" for report in reports for item in report["retrains"]):
        shapes.insert(8, Line2D([], [], color=ink.act, marker="D", ls="", ms=6, label="recall"))
    figure.legend(handles=shapes, loc="lower left", bbox_to_anchor=(0.008, 0.0), ncols=6,
                  fontsize=8, frameon=False, labelcolor=ink.text, handlelength=1.6,
                  columnspacing=1.3)
    figure.subplots_adjust(left=0.075, right=0.985, top=1 - 0.58 / inches,
                           bottom=0.72 / inches, hspace=0.42)


def _at(text: str) -> float:
    """Matplotlib's way to tell time: days since 1970."""
    return (parse_time(text) - EPOCH) / timedelta(days=1)
