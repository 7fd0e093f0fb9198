"""Kinds: what can train a candidate, and what can be set of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from monitor.mistakes import closest

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""``package.module:Class``: a trainer of one's own."""

KINDS = ("none", "torch", "torch-image", "torch-text", "transformers-text", "sklearn")
"""Values of ``training.kind`` beside import paths."""

EXTRAS = {"transformers-text": ("transformers", "peft")}
"""Value of ``training.kind`` -> packages that it needs, from the extra ``transformers``."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that can be set: its default and what it may be."""

    default: float
    least: float
    most: float
    whole: bool = True
    """Whether only whole numbers make sense."""


ESTIMATORS: Mapping[str, Mapping[str, Setting]] = {
    "hist_gradient_boosting": {
        "trees": Setting(150, 1, 5000), "leaves": Setting(31, 2, 255),
        "depth": Setting(0, 0, 50), "least": Setting(20, 1, 100_000),
        "rate": Setting(0.1, 1e-4, 1, whole=False), "penalty": Setting(0, 0, 1e6, whole=False)},
    "random_forest": {
        "trees": Setting(60, 1, 5000), "depth": Setting(12, 0, 50),
        "least": Setting(5, 1, 100_000), "features": Setting(0.4, 0.01, 1, whole=False)},
    "linear": {"penalty": Setting(0, 0, 1e6, whole=False)}}
"""Value of ``training.estimator`` -> what ``training.settings`` may hold.

``depth`` 0 is no limit; ``least`` is rows in a leaf; ``features`` the share of columns that a
split may choose from; ``penalty`` the weight of squared coefficients or leaves, for linear models
0 lets the validation rows choose it.
"""


def require_kind(kind: str) -> None:
    """``ValueError`` in words where no trainer can be of this kind."""
    if kind in KINDS or IMPORT_PATH.fullmatch(kind):
        return
    raise ValueError(f"{kind!r} is no kind of trainer; {closest(kind, KINDS)} (or the import path "
                     "of your own, package.module:Class)")


def importable(module: str) -> bool:
    """Whether the module is there, without running it (only the packages that hold it)."""
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def require_settings(estimator: str, settings: Mapping[str, Any]) -> None:
    """``ValueError`` in words where one of the settings is unknown or out of range."""
    known = ESTIMATORS[estimator]
    for name, value in settings.items():
        if name not in known:
            raise ValueError(f"settings.{name}: unknown for {estimator}; "
                             f"{closest(name, list(known))}")
        asked = known[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and asked.whole and float(value) != int(value):
            number = False
        if not number or not asked.least <= value <= asked.most:
            kind = "a whole number" if asked.whole else "a number"
            raise ValueError(f"settings.{name}: {value!r}; right would be {kind} between "
                             f"{asked.least:g} and {asked.most:g}")
