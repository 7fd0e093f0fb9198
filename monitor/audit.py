"""Audit: champion and challenger on the golden benchmark sets, on schedule or when a person asks.

A short-lived process scores them (``retrain.audit``); what it found is the outcome of its request,
which is kept: the history is those rows. None of it touches the model's state.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from monitor.config import Model
from monitor.registry import CHALLENGER, CHAMPION, Registry
from monitor.store import Store
from monitor.window import format_duration, isoformat

PURPOSE = "audit"
SHOWN = 10
"""Audits that are shown at most, the newest ones."""


def due(model: Model, store: Store, now: datetime) -> str | None:
    """Why an audit is due by schedule; None while none is."""
    every = model.audit.every
    if every is None or store.recorded(model.name).state.champion is None:
        return None
    last = store.scorings(model.name, PURPOSE, newest=1)
    if last and now - last[0].request.known_at < every:
        return None
    return f"the golden sets are looked at every {format_duration(every)}"


def options(model: Model, registry: Registry) -> dict[str, Any]:
    """The versions to hold against the golden sets, as they stand now, by role."""
    aliases = registry.aliases(model.registered)
    versions = {role: aliases[role] for role in (CHAMPION, CHALLENGER) if role in aliases}
    if versions.get(CHALLENGER) == versions.get(CHAMPION):
        versions.pop(CHALLENGER, None)
    return {"purpose": PURPOSE, "versions": versions}


def history(store: Store, model: str, newest: int = SHOWN) -> list[dict[str, Any]]:
    """What audits found, newest first: ``at``, ``reason``, ``scores`` and ``gains``."""
    rows = store.scorings(model, PURPOSE, newest=newest, status="done")
    return [{"at": isoformat(row.request.known_at), **(row.outcome or {}).get("result", {})}
            for row in rows]


def newest(store: Store, model: str) -> dict[str, Any] | None:
    """What the newest audit found; None before the first one."""
    found = history(store, model, 1)
    return found[0] if found else None


def words(found: dict[str, Any]) -> Iterator[str]:
    """One line per golden set: the deciding metric of every version, and the gain."""
    for name in sorted({row["benchmark"] for row in found["scores"]}):
        told = [f"{row['role']} {row['value']:.3f}" if row["value"] is not None else
                f"{row['role']} unknown" for row in deciding(found) if row["benchmark"] == name]
        gains = [row for row in found["gains"] if row["benchmark"] == name]
        more = "".join(f", gain {row['gain']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
                       for row in gains)
        low = "; UNDER ITS FLOOR" if any(row["under"] for row in deciding(found)
                                         if row["benchmark"] == name) else ""
        yield f"{name}: {found['metric']} {', '.join(told)}{more}, {found['at'][:16]}{low}"


def deciding(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the metric that decides."""
    return [row for row in found["scores"] if row["metric"] == found["metric"]]
