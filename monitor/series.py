"""Series: samples of one snapshot, by metric family and labels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Labels = tuple[str, ...]
Samples = dict[str, dict[Labels, float]]


class Page:
    """Collects samples; what is None or not a number is left out."""

    def __init__(self) -> None:
        self.samples: Samples = defaultdict(dict)

    def put(self, name: str, value: float | datetime | None, *labels: str) -> None:
        if isinstance(value, datetime):
            value = value.timestamp()
        if value is not None and math.isfinite(value):
            self.samples[name][labels] = float(value)

    def bounded(self, name: str, item: Mapping[str, Any], *labels: str, key: str = "value") -> None:
        """A number with the ends of its interval: ``name``, ``name_low`` and ``name_high``."""
        for part, suffix in ((key, ""), ("low", "_low"), ("high", "_high")):
            self.put(f"{name}{suffix}", item[part], *labels)

    def choose(self, name: str, chosen: str, among: Iterable[str], *labels: str) -> None:
        """A state set: 1 for the chosen one, 0 for the others."""
        for one in among:
            self.put(name, float(one == chosen), *labels, one)
