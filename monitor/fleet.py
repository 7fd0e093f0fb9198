"""Fleet: every model with what it needs, in the order of need, in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from monitor.config import Config, Model
from monitor.need import LEVELS, Level, Need, Sight, need
from monitor.secrets import redact
from monitor.state import ModelState
from monitor.store import Pending, Recorded, Row, Store, Tick, Trouble

LATE = 4
"""Intervals of the schedule after which a model counts as left out, where others were looked at."""
UNHEARD = Recorded(ModelState(), 0, None)
"""The state of a model that the store does not know yet."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model as the store knows it."""

    model: Model
    recorded: Recorded
    need: Need
    newest: Row | None
    trouble: Trouble | None
    tick: Tick | None
    pending: Pending | None

    @property
    def reason(self) -> str:
        """The newest verdict's reason, secrets masked; '' before the first."""
        return redact(self.newest.line["reason"]) if self.newest else ""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which models are asked for; empty texts ask for all."""

    phase: str = ""
    level: str = ""
    text: str = ""

    def keeps(self, entry: Entry) -> bool:
        """Whether the model is among them; letters' case does not matter."""
        told = " ".join((entry.model.name, entry.model.registered, entry.reason,
                         entry.need.words)).casefold()
        return (self.phase in {"", entry.recorded.state.phase}
                and self.level in {"", entry.need.level}
                and all(word in told for word in self.text.casefold().split()))


def entries(store: Store, config: Config) -> list[Entry]:
    """Every configured model, those first that need a person most."""
    states, newest, troubles = store.states(), store.newest(), store.troubles()
    ticks, pending = store.ticks(), store.waiting()
    names = {model.name for model in config.models}
    seen = max((tick.at for name, tick in ticks.items() if name in names), default=None)
    made = []
    for model in config.models:
        recorded, row = states.get(model.name, UNHEARD), newest.get(model.name)
        trouble, tick = troubles.get(model.name), ticks.get(model.name)
        waits = pending.get(model.name)
        sight = Sight(row.line if row else None, trouble is not None,
                      late(tick, seen, config.schedule.every), waits is not None)
        made.append(Entry(model, recorded, need(recorded.state, sight), row, trouble, tick, waits))
    return sorted(made, key=_urgency)


def entry(store: Store, config: Config, model: Model) -> Entry:
    """One model of the configuration, with what it needs."""
    return next(item for item in entries(store, config) if item.model.name == model.name)


def late(tick: Tick | None, seen: datetime | None, every: timedelta) -> bool:
    """Whether the model was left out while others were looked at."""
    return tick is not None and seen is not None and seen - tick.at > LATE * every


def counted(made: Sequence[Entry]) -> dict[Level, int]:
    """How many models there are of every level, the most urgent first."""
    return {level: sum(item.need.level == level for item in made) for level in LEVELS}


def performances(store: Store, shown: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The champion's newest measured deciding metric, with what is promised of it, by model."""
    champions = {item.model.name: item.recorded.state.champion for item in shown}
    rows = store.measured_of({name: version for name, version in champions.items() if version})
    return {name: {**told, "promised": row.line.get("promised"), "end": row.line["end"]}
            for name, row in rows.items()
            if (told := next((item for item in row.line["performance"]
                              if item["value"] is not None), None))}


def _urgency(item: Entry) -> tuple[int, int, float, str]:
    """By how soon, by what, by what lies farthest beyond its limit, then by name."""
    severity = cast(float, (item.newest.line.get("severity") if item.newest else None) or 0.0)
    return (list(LEVELS).index(item.need.level), item.need.order,
            0.0 if item.need.level == "none" else -severity, item.model.name)
