"""Bins: the frozen cells that a version's values are counted in.

Bins are made once, from the reference, and travel with the model version. The
cell of a number is one arithmetic expression that every SQL engine runs: a
monotone transform (linear, or asinh around a centre and scale) followed by
equal-width cells; values that hold much of the reference get cells of their own.
The cell of a category is its place in the list of the most frequent ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Role = Literal["feature", "prediction", "score", "label"]

NUMERIC_CELLS = ("null", "nan", "infinite", "invalid", "below")
CATEGORY_CELLS = ("null", "invalid", "unseen", "other")
SCORE_CELLS = 100
"""Equal-width cells of a score in [0, 1]; ``-1`` stands for no score."""
OTHER = "*"
"""Stands for every class beyond those that answers are counted by."""


@dataclass(frozen=True, slots=True)
class NumericBins:
    """Cells of a number or an instant (datetimes are seconds since the Unix epoch, UTC).

    Layout: ``null, nan, infinite, invalid, below, cell 0 … cell n-1, above, exact 0 …`` and, where
    ``least`` or ``most`` were declared, a last one for every value beyond them.
    A value equal to one of ``exact`` is counted there and nowhere else; otherwise its cell is
    ``floor((t(x) - low) * cells / (high - low))`` with ``t(x) = x`` or
    ``asinh((x - center) / scale)``. With ``cells == 0`` (a constant) every other
    value is below or above ``center``. ``invalid`` counts values that do not convert to a number.
    """

    name: str
    role: Role
    kind: Literal["numeric", "datetime"]
    transform: Literal["linear", "asinh"]
    center: float
    scale: float
    low: float
    high: float
    cells: int
    exact: tuple[float, ...] = ()
    least: float | None = None
    most: float | None = None

    @property
    def size(self) -> int:
        """Number of cells, special ones included."""
        return self.impossible + int(self.declared)

    @property
    def declared(self) -> bool:
        """Whether the possible values were declared: the rest is no part of a distribution."""
        return self.least is not None or self.most is not None

    @property
    def impossible(self) -> int:
        """Index of the cell beyond ``least`` and ``most``, where there is one."""
        return self.above + 1 + len(self.exact)

    @property
    def first(self) -> int:
        """Index of ``cell 0``."""
        return len(NUMERIC_CELLS)

    @property
    def above(self) -> int:
        return self.first + self.cells


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Cells of a category, a boolean or a class, in one canonical text form.

    Layout: ``null, invalid, unseen, other, category 0 …``. ``other`` is a value of the
    reference that is not in ``categories`` but in ``known``; ``unseen`` is any other value: one
    that the reference never held, or on fewer rows than may be named. When the reference holds
    more than 10,000 values, ``known`` is empty, ``rest`` is true and both are counted in
    ``other``.
    """

    name: str
    role: Role
    kind: Literal["categorical", "boolean"]
    categories: tuple[str, ...]
    known: tuple[str, ...] = ()
    rest: bool = False

    @property
    def size(self) -> int:
        return len(CATEGORY_CELLS) + len(self.categories)

    @property
    def first(self) -> int:
        return len(CATEGORY_CELLS)


@dataclass(frozen=True, slots=True)
class AnswerBins:
    """Joint cells of a predicted class and the score beside it, whether a label came or not.

    Layout: for each of ``names`` the score cells 0 … 99 of ``Outcomes``, then ``no score``. The
    score is that of the ``positive`` class, or of the predicted class itself where ``own``.
    Performance is estimated from these counts; they are never tested for drift.
    """

    prediction: str
    scores: tuple[str, ...]
    classes: tuple[str, ...]
    positive: str | None
    own: bool

    @property
    def names(self) -> tuple[str, ...]:
        """No answer, any class that is not named, then the classes."""
        return ("", OTHER, *self.classes)

    @property
    def size(self) -> int:
        return len(self.names) * (SCORE_CELLS + 1)

    def place(self, name: str) -> int:
        """Where a class stands among ``names``."""
        return self.names.index(name) if name in self.names else 1


FeatureBins = NumericBins | CategoryBins


@dataclass(frozen=True)
class Bins:
    """All cells of one model version, in a fixed order; a profile is one vector over them.

    The cells of ``answers`` come last. They are no column: no statistic is taken of them.
    """

    features: tuple[FeatureBins, ...]
    answers: AnswerBins | None = None

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each feature's counts lie in the vector; keyed ``role:name`` but for features."""
        slices, offset = {}, 0
        for feature in self.features:
            slices[key_of(feature)] = slice(offset, offset + feature.size)
            offset += feature.size
        return slices

    @cached_property
    def size(self) -> int:
        return self.columns + (self.answers.size if self.answers else 0)

    @cached_property
    def columns(self) -> int:
        """How many cells columns have, those of ``answers`` aside."""
        return sum(feature.size for feature in self.features)

    @cached_property
    def by_key(self) -> dict[str, FeatureBins]:
        return {key_of(feature): feature for feature in self.features}

    def role(self, role: Role) -> tuple[FeatureBins, ...]:
        return tuple(feature for feature in self.features if feature.role == role)

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain values for JSON; ``from_dict`` reads them back unchanged."""
        told = [{slot: getattr(feature, slot) for slot in feature.__slots__
                 if slot not in ("least", "most") or getattr(feature, slot) is not None}
                for feature in self.features]
        if self.answers is not None:
            told.append({"kind": "answers"} | {
                slot: getattr(self.answers, slot) for slot in self.answers.__slots__})
        return told

    @classmethod
    def from_dict(cls, rows: list[dict[str, Any]]) -> Bins:
        features: list[FeatureBins] = []
        answers = None
        for row in rows:
            values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                      for key, value in row.items()}
            if row["kind"] == "answers":
                answers = AnswerBins(**{key: value for key, value in values.items()
                                        if key != "kind"})
                continue
            features.append(NumericBins(**values) if row["kind"] in {"numeric", "datetime"}
                            else CategoryBins(**values))
        return cls(tuple(features), answers)


def key_of(feature: FeatureBins) -> str:
    """``name`` for a feature, ``role:name`` for a prediction, score or label."""
    return feature.name if feature.role == "feature" else f"{feature.role}:{feature.name}"


QUANTILES = tuple(index / 200 for index in range(201))
"""The quantiles that ``ColumnSummary.quantiles`` holds: 0, 0.005, … 1."""


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """What the engine tells of one reference column; numbers only, and frequent values.

    ``kind`` is what the column is logged as. ``top`` lists the most frequent non-null values
    (canonical text for categories, numbers for numbers) with their counts, most frequent first,
    at most 10,001 for categories and 100 for numbers. ``rises`` says that the value never falls
    along event time.
    """

    name: str
    kind: Literal["numeric", "categorical", "boolean", "datetime"]
    integral: bool
    rows: int
    nulls: int
    distinct: int
    quantiles: tuple[float, ...]
    top: tuple[tuple[str | float, int], ...]
    rises: bool = False
