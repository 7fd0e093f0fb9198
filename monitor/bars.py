"""Bars: a column beside its reference as a small picture, and what changed most in words.

Only places are computed here, in the units of the picture; the template draws them as SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.contours import Cell, Contour

SHOWN = 12
"""Columns that a page draws."""
WIDTH, FLOOR, AIR = 320.0, 82.0, 0.2
"""The picture's width, where bars stand, and the share of a cell's width left between cells."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell: where its two bars start, their width, and how far down their tops are."""

    label: str
    words: str
    missing: bool
    x: float
    width: float
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A column with its bars; without any where nothing was counted."""

    contour: Contour
    bars: tuple[Bar, ...]
    words: str


def drawn(contours: Sequence[Contour]) -> list[Drawn]:
    """Every column as a picture of its own."""
    return [Drawn(item, _bars(item.cells), _words(item.cells)) for item in contours]


def _bars(cells: Sequence[Cell]) -> tuple[Bar, ...]:
    """Bars as high as the cell's share; the highest of the column fills the picture."""
    most = max((max(cell.reference, cell.current) for cell in cells), default=0.0)
    if most == 0:
        return ()
    step = WIDTH / len(cells)
    width = round(step * (1 - AIR) / 2, 2)

    def top(share: float) -> float:
        return round(FLOOR * (1 - share / most), 2)

    return tuple(Bar(cell.label, told(cell), cell.missing, round(step * (place + AIR / 2), 2),
                     width, top(cell.reference), top(cell.current))
                 for place, cell in enumerate(cells))


def told(cell: Cell) -> str:
    """``8 to 9: 12 % in the reference, 20 % now``."""
    return (f"{cell.label}: {100 * cell.reference:.3g} % in the reference, "
            f"{100 * cell.current:.3g} % now")


def _words(cells: Sequence[Cell]) -> str:
    if not cells:
        return ""
    most = max(cells, key=lambda cell: abs(cell.current - cell.reference))
    return f"Most changed: {told(most)}."
