"""Conditions: the sections of the configuration that say what a candidate must keep."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from monitor.fields import Duration, Section, require

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def _bytes(value: Any) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(|B|KB|MB|GB)\s*", str(value))
    if isinstance(value, bool) or match is None:
        raise ValueError(f"{value!r} is not a size; write a number of bytes, or 200KB or 5MB")
    return int(float(match[1]) * _UNITS[match[2]])


Size = Annotated[int, BeforeValidator(_bytes),
                 WithJsonSchema({"type": ["integer", "string"],
                                 "pattern": r"^\d+(\.\d+)?\s*(B|KB|MB|GB)?$"})]

GapMeasure = Literal["demographic_parity_difference", "equal_opportunity_difference",
                     "equalized_odds_difference", "predictive_parity_difference",
                     "performance_difference"]


class Fairness(Section):
    """How far the groups of one column may lie apart."""

    column: str
    """Column whose values are the groups; one of ``log.segments``."""
    measure: GapMeasure = "demographic_parity_difference"
    """What is compared between the groups; `performance_difference` is the gap in the metric that
    decides, the others are of two classes. As Fairlearn defines them."""
    ceiling: float | None = Field(default=None, gt=0)
    """Largest gap that a candidate may have."""
    growth: float | None = Field(default=None, ge=0)
    """How much larger than the champion's its gap may be."""

    @model_validator(mode="after")
    def _consistent(self) -> Fairness:
        require(self.ceiling is not None or self.growth is not None, "ceiling",
                "absent beside growth", "at least one of the two")
        return self


class Gate(Section):
    """What a candidate must keep, beside ``training.minimum_gain``, on the newest holdout."""

    season: Duration | None = Field(default=None, ge=timedelta(minutes=1))
    """Length of the time blocks that intervals leave out: at least the stream's season. Default: a
    week where the holdout holds four, else a day."""
    confidence: float | None = Field(default=None, gt=0.5, lt=1)
    """How sure it must be that the candidate is better than the champion, such as 0.9. Default: the
    gain on the holdout decides, and how sure it is is told."""
    slice_budget: float = Field(default=0.05, ge=0)
    """How much worse than the champion a candidate may be on a group of ``log.segments``, in the
    metric's units (for mae and rmse: as a share); more, with evidence, is refused."""
    slice_rows: int = Field(default=100, ge=30)
    """Holdout rows below which a group is not judged (never under ``privacy.min_count``)."""
    fairness: list[Fairness] = []
    """How far groups may lie apart."""
    ece_budget: float | None = Field(default=0.05, ge=0)
    """How much worse than the champion's its calibration error may be, where scores exist; null
    asks nothing."""
    log_loss_budget: float | None = Field(default=None, ge=0)
    """The same of the log loss."""
    blend_budget: float = Field(default=0.02, ge=0)
    """How much worse than a champion that is a blend the same weighed anew may be, in the metric's
    units (for mae, rmse and mape: as a share). It is refused where it surely is: where the interval
    of the difference on the holdout lies beyond. Newer weights are right more often than a
    fortnight of rows can show."""
    max_size: Size | None = Field(default=None, gt=0)
    """Largest artifact, in bytes or as `200KB`. Of a candidate's sizes those that keep this and
    `max_latency` come first; one that keeps them not is refused."""
    max_latency: dict[Literal[1, 256], float] = {}
    """Rows per call -> longest median CPU time of a call, in milliseconds."""

    @model_validator(mode="after")
    def _consistent(self) -> Gate:
        for batch, most in self.max_latency.items():
            require(most > 0, f"max_latency.{batch}", f"{most:g}", "more than 0 milliseconds")
        return self


class Benchmark(Section):
    """A golden benchmark set: labelled rows that no candidate ever learns from."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    """Name in metrics, verdicts and on the status page."""
    source: str
    """A file with the columns of the log, as ``reference.source``."""
    label: str | None = None
    """Column that holds the label. Default: that of the log."""
    floor: float | None = None
    """What a candidate must reach at least, in the metric that decides (errors: at most)."""
    budget: float = Field(default=0.01, ge=0)
    """How much worse than the champion a candidate may be on it, in the metric's units (for mae and
    rmse: as a share)."""


class Audit(Section):
    """When champion and challenger are held against the golden benchmark sets."""

    every: Duration | None = Field(default=None, ge=timedelta(hours=1))
    """How often, such as `7d`. Default: only by ``holdfast audit``."""
