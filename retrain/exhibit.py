"""Exhibit: a picture of what the gate saw, for the person who decides in MLflow's pages.

Left the deciding metric of everybody on the newest holdout, right the candidate's gain over each
version and within each group, with what had to be kept. Matplotlib is imported here alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from retrain.metrics import LOWER_IS_BETTER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT, SOFT, GRID = "#1d2329", "#5a646e", "#e1e3e1"
NEW, OLD, HARM = "#1f7a4d", "#2b61a8", "#b3322b"
WIDTH, FRAME, ROW = 7.3, 1.15, 0.3
"""Inches: the picture's width, which MLflow's page has room for, what titles and axes take, and
what a line takes."""
MOST = 12
"""Comparisons that are drawn: those with versions, then the worst of the rest."""


def draw(result: Mapping[str, Any]) -> bytes:
    """The picture of a job's result as a PNG; the same result gives the same picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = drawn(result)
    lines = max(len(result["holdout"]), len(rows), 2)
    figure = Figure(figsize=(WIDTH, FRAME + ROW * lines), dpi=90, facecolor="#ffffff")
    FigureCanvasAgg(figure)
    sides = figure.subplots(1, 2 if rows else 1, squeeze=False)[0]
    _scores(sides[0], result)
    if rows:
        _gains(sides[1], rows, result["metric"])
    figure.tight_layout(w_pad=1.5)
    made = io.BytesIO()
    figure.savefig(made, format="png", metadata={"Software": None})
    return made.getvalue()


def drawn(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the gate asked of the deciding metric and measured: versions first, then the worst."""
    rows = [row for row in result.get("gate", ()) if row["metric"] == result["metric"]
            and row["judged"] and row["difference"] is not None]
    versions = [row for row in rows if not row["where"]]
    groups = sorted((row for row in rows if row["where"]), key=lambda row: -row["difference"])
    return (versions + groups)[:MOST]


def _scores(axes: Axes, result: Mapping[str, Any]) -> None:
    known = {name: entry for name, entry in result["holdout"].items()
             if entry.get("value") is not None}
    metric = result["metric"]
    for place, (name, entry) in enumerate(known.items()):
        ink = NEW if name == "candidate" else OLD
        _line(axes, place, (entry["low"], entry["value"], entry["high"]), ink)
    better = "lower" if metric in LOWER_IS_BETTER else "higher"
    _framed(axes, list(known), f"{metric} on the holdout ({better} is better)")


def _gains(axes: Axes, rows: Sequence[Mapping[str, Any]], metric: str) -> None:
    """Gains to the right; the red mark is what the gate asked at least."""
    axes.axvline(0, color=SOFT, linewidth=0.8)
    for place, row in enumerate(rows):
        spread = [None if value is None else -value
                  for value in (row["high"], row["difference"], row["low"])]
        _line(axes, place, spread, NEW if row["passed"] else HARM)
        if row["allowed"] is not None:
            axes.plot([-row["allowed"]] * 2, [place - 0.3, place + 0.3], color=HARM, linewidth=2)
    names = [row["where"] or f"against {row['against']}" for row in rows]
    _framed(axes, names, f"gain in {metric} (red: least asked)")


def _line(axes: Axes, place: int, spread: Sequence[float | None], ink: str) -> None:
    """A value with its interval, as far as there is one."""
    low, value, high = spread
    if value is None:
        return
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [place, place], color=ink, linewidth=5, alpha=0.3,
                  solid_capstyle="butt")
    axes.plot([value], [place], "o", color=ink, markersize=6)
    axes.annotate(f"{value:.4g}", (value, place), xytext=(0, 7),
                  textcoords="offset points", ha="center", fontsize=8, color=TEXT)


def _framed(axes: Axes, names: Sequence[str], title: str) -> None:
    axes.set_yticks(range(len(names)), [name if len(name) <= 24 else f"{name[:23]}…"
                                        for name in names])
    axes.set_ylim(len(names) - 0.4, -0.75)
    axes.margins(x=0.08)
    axes.set_title(title, fontsize=8.5, color=TEXT, loc="left")
    axes.tick_params(labelsize=8, colors=SOFT, length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
