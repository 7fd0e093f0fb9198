"""Front: the trials of a search, which of them none other beats, and their picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Tried:
    """One finished trial; what was not reached of it is None. ``latency`` is seconds at batch 1."""

    number: int
    state: str
    params: Mapping[str, Any]
    loss: float | None = None
    latency: float | None = None
    size: int | None = None
    feasible: bool = True
    reason: str = ""
    folder: str = ""


def able(tried: Sequence[Tried]) -> list[Tried]:
    """The trials that are complete and keep every limit."""
    return [item for item in tried if item.state == "complete" and item.feasible]


def front(tried: Sequence[Tried]) -> tuple[Tried, ...]:
    """Those of them that none other beats in loss, latency and size at once."""
    each = able(tried)
    return tuple(item for item in each if not any(_beats(other, item) for other in each))


def _beats(one: Tried, other: Tried) -> bool:
    """Nowhere dearer, and somewhere cheaper."""
    pairs = list(zip(_costs(one), _costs(other), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _costs(item: Tried) -> tuple[float, float, float]:
    assert item.loss is not None
    assert item.latency is not None
    assert item.size is not None
    return item.loss, item.latency, float(item.size)


def cheaper(item: Tried, default: Tried) -> tuple[float, float]:
    """How many times smaller and faster than the default."""
    _, latency, size = _costs(item)
    _, slow, large = _costs(default)
    return large / size, slow / latency


def picture(tried: Sequence[Tried], default: Tried, chosen: int | None, path: Path) -> Path:
    """Loss over latency of all complete trials, as PNG; areas are sizes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    done = [item for item in tried if item.state == "complete"]
    for items, colour, label in (
            (done, "0.7", "trials"), (front(tried), "C0", "front"), ([default], "C1", "default"),
            ([item for item in done if item.number == chosen], "C2", "chosen")):
        if items:
            axes.scatter([_costs(item)[1] * 1e6 for item in items],
                         [_costs(item)[0] for item in items], color=colour, label=label,
                         s=[20 + 180 * item.size / max(_costs(each)[2] for each in
                                                       [*done, default])
                            for item in items if item.size], alpha=0.8)
    axes.set(xlabel="microseconds a call, one row", ylabel="loss on validation",
             title=f"{len(done)} complete trials of {len(tried)}; areas are sizes")
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Software": None})
    return path
