"""Canonical: values as JSON, equal ones as equal texts."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

import numpy as np

from monitor.window import isoformat


def plain(value: Any) -> Any:
    """``value`` in JSON's types; what is not a finite number is absent (None)."""
    if type(value) in {str, int, bool}:
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return isoformat(value)
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dumps(value: Any) -> str:
    """Compact JSON with sorted keys, so that equal values are equal texts."""
    return compact(plain(value))


def compact(value: Any) -> str:
    """The same of a value that is of JSON's types already."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
