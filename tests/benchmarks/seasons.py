"""Alarms from a stream's second year on that no loss follows, at equal delay on a planted loss.

A model is trained on the first year, whose weeks are the reference. Inputs and predictions are
watched, one window per week, and by the tools that wait for them labels too, which come a week
later (``holdfast``, ``nannyml-labels``; ``holdfast-inputs`` is drift alone). A loss is planted on
several dates in turn: the model's most important movable input is miscounted so that the error
over the live years rises by ``RISE``. A tool's factor is the one with the fewest empty alarms among
those at which its median delay, to an alarm that opens after the plant, is at most the common one.
An alarm counts once per four weeks that its episode lasts, and is empty if the mean error of
neither its week nor the four after it exceeds the reference's by ``LOSS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tests.benchmarks.answered import HoldfastAnswered, NannyMLAnswered, seen
from tests.benchmarks.counting import episodes
from tests.benchmarks.tools import DAY, Tool, makers
from tests.benchmarks.windowed import Windows, by_week, encoded, joined
from tests.data import stream

Floats = npt.NDArray[np.float64]

RISE, LOSS = 1.0, 0.3
"""What a planted loss adds to the mean error, and what counts as a realized one, as shares."""
FOLLOW, PLANTED = 4, 8
"""Windows: how soon a loss follows an alarm; how long a plant lasts."""
PLANTS, CONTEXT = 12, 64
"""Plants per stream, and the windows before each that a tool sees along with it."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A stream, what its model reads and predicts, and which input a loss is planted in."""

    stream: str
    target: str
    inputs: tuple[str, ...]
    planted: str
    plant: Callable[[Floats, float, np.random.Generator], Floats]


def _gain(values: Floats, size: float, rng: np.random.Generator) -> Floats:
    """A sensor that reads too high by this share."""
    return values * (1 + size)


def _half_clock(values: Floats, size: float, rng: np.random.Generator) -> Floats:
    """Hours of which this share is written on a clock of twelve."""
    return np.where(rng.random(values.size) < size, values % 12, values)


STREAMS = {
    "metro_traffic": Watched("metro_traffic", "traffic_volume", (
        "holiday", "temp", "rain_1h", "snow_1h", "clouds_all", "weather_main", "hour", "weekday"),
        "hour", _half_clock),
    "beijing_air": Watched("beijing_air", "PM2.5", (
        "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "WSPM", "wd", "station",
        "hour"), "PM10", _gain),
}


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """Weeks of logged inputs and predictions, and each week's mean absolute error."""

    watched: Watched
    windows: Windows
    errors: Floats
    reference: int
    usual: float
    model: Any

    @property
    def live(self) -> Windows:
        return self.windows.part(self.reference, len(self.windows))


def lived(watched: Watched, sparse: int) -> Life:
    """The stream answered by a model of its first year; ``sparse`` keeps every so many-th row."""
    frame = stream(watched.stream).dropna(subset=[watched.target]).iloc[::sparse]
    frame = frame.reset_index(drop=True)
    stamps = frame["timestamp"]
    frame["hour"], frame["weekday"] = stamps.dt.hour, stamps.dt.dayofweek
    inputs = encoded(frame[list(watched.inputs)])
    target = frame[watched.target].to_numpy(dtype=np.float64)
    first = int((stamps < stamps[0] + pd.DateOffset(years=1)).sum())
    model, guess = _trained(inputs[:first], target[:first], stamps[:first])
    promised = np.concatenate([guess, np.full(len(frame) - first, np.nan)])
    weeks = by_week(inputs.assign(prediction=model.predict(inputs), label=target,
                                  promised=promised), stamps)
    errors = np.add.reduceat(np.abs(weeks.frame["prediction"] - weeks.frame["label"]).to_numpy(),
                             weeks.edges[:-1]) / weeks.sizes
    reference = sum(start < weeks.starts[0] + 52 * 7 * DAY for start in weeks.starts)
    return Life(watched, weeks, errors, reference, float(np.abs(guess - target[:first]).mean()),
                model)


def _trained(inputs: pd.DataFrame, target: Floats, stamps: pd.Series) -> tuple[Any, Floats]:
    """The model, and answers to the first year by models that were not trained on the month."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import GroupKFold, cross_val_predict

    model = HistGradientBoostingRegressor(max_iter=80, categorical_features="from_dtype",
                                          random_state=0)
    months = stamps.dt.strftime("%Y-%m")
    guess = cross_val_predict(model, inputs, target, groups=months, cv=GroupKFold(6))
    return model.fit(inputs, target), np.asarray(guess, dtype=np.float64)


def spoiled(life: Life, size: float, first: int, last: int) -> tuple[Windows, float]:
    """Live weeks ``first`` to ``last - 1`` with the plant, answered anew, and their mean error."""
    weeks = life.live.part(first, last)
    part, held = weeks.frame[list(life.watched.inputs)].copy(), weeks.frame["label"]
    name, rng = life.watched.planted, np.random.default_rng(first)
    part[name] = life.watched.plant(part[name].to_numpy(dtype=np.float64), size, rng)
    part["prediction"] = life.model.predict(part)
    error = (part["prediction"] - held).abs().mean()
    part = part.assign(label=held, promised=np.nan)
    return Windows(part, weeks.edges, weeks.starts), float(error)


def size_for(life: Life) -> float:
    """The plant's size at which the live years' mean error rises by ``RISE``, at most 1."""
    count = len(life.live)
    wanted = (1 + RISE) * spoiled(life, 0.0, 0, count)[1]
    low, high = 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        low, high = ((middle, high) if spoiled(life, middle, 0, count)[1] < wanted
                     else (low, middle))
    return (low + high) / 2


def strengths(life: Life, tool: Tool, size: float, plants: int) -> tuple[Floats, list[Floats]]:
    """The tool's strengths on the live weeks, and on them with each plant at their end."""
    tool.fit(seen(life.windows.part(0, life.reference), tool))
    calm = tool.scores(seen(life.live, tool))
    planted = []
    for first in np.linspace(0, calm.size - PLANTED, plants + 1)[1:].astype(int):
        begin = max(first - CONTEXT, 0)
        live = joined([life.live.part(begin, first),
                       spoiled(life, size, first, first + PLANTED)[0]])
        planted.append(np.concatenate([calm[:begin], tool.scores(seen(live, tool))]))
    return calm, planted


def delay(planted: list[Floats], factor: float) -> float:
    """The median number of windows from a plant to the first alarm opened after it."""
    found = []
    for run in planted:
        first = run.size - PLANTED
        opened = [start for start, _ in episodes(run * factor >= 1) if start >= first]
        found.append(opened[0] - first + 1 if opened else PLANTED + 1)
    return float(np.median(found))


def empty(calm: Floats, factor: float, life: Life) -> int:
    """Alarms that no realized loss follows; an episode counts once per ``FOLLOW`` windows."""
    lost = life.errors[life.reference:] > (1 + LOSS) * life.usual
    return sum(not lost[place:place + FOLLOW + 1].any()
               for start, end in episodes(calm * factor >= 1)
               for place in range(start, end + 1, FOLLOW))


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """What a tool's factors come to: (empty alarms, median delay, factor) each."""

    tried: list[tuple[int, float, float]]
    by_default: tuple[int, float]
    weeks_alarming: int

    @property
    def fastest(self) -> float:
        """The smallest median delay that any factor reaches."""
        return min(each[1] for each in self.tried)

    def at(self, wanted: float) -> dict[str, Any]:
        """The fewest empty alarms at a median delay of at most ``wanted``; None where none is."""
        able = [each for each in self.tried if each[1] <= wanted]
        alarms, waited, factor = min(able) if able else (None, self.fastest, 0.0)
        return {"alarms": alarms, "delay": waited, "factor": round(float(factor), 4),
                "fastest": self.fastest, "by_default": self.by_default[0],
                "delay_by_default": self.by_default[1], "weeks_alarming": self.weeks_alarming}


def trials(life: Life, calm: Floats, planted: list[Floats]) -> Trials:
    """Every factor that changes what the tool says, from always to never."""
    values = np.unique(np.concatenate([calm, *(run[-PLANTED:] for run in planted)]))
    factors = 1 / np.quantile(values[values > 0], np.linspace(0.002, 0.9995, 250))
    return Trials([(empty(calm, factor, life), delay(planted, factor), factor)
                   for factor in factors],
                  (empty(calm, 1.0, life), delay(planted, 1.0)), int((calm >= 1).sum()))


def watchers() -> dict[str, Callable[[], Tool]]:
    """Every tool by name: those that wait for labels, and those that look at inputs alone."""
    inputs = makers(days=7, mode="same_season_last_year")
    return {"holdfast": lambda: HoldfastAnswered(7, LOSS),
            "holdfast-inputs": inputs.pop("holdfast"), **inputs, "nannyml-labels": NannyMLAnswered}


def measure(quick: bool) -> dict[str, Any]:
    """Per stream and tool: empty alarms at equal delay, and at the tool's own threshold.

    The common delay is the smallest that every tool reaches which finds the plants at all.
    """
    told: dict[str, Any] = {}
    for name, watched in STREAMS.items():
        life = lived(watched, sparse=25 if quick and name == "beijing_air" else 1)
        size = size_for(life)
        tools = {label: trials(life, *strengths(life, make(), size, 4 if quick else PLANTS))
                 for label, make in watchers().items()}
        common = max((each.fastest for each in tools.values() if each.fastest <= PLANTED),
                     default=float(PLANTED))
        errors = life.errors[life.reference:]
        told[name] = {label: each.at(common) for label, each in tools.items()} | {"stream": {
            "plant": round(size, 4), "usual_error": round(life.usual, 3), "delay": common,
            "error": round(float(errors.mean()), 3), "weeks": errors.size,
            "weeks_of_loss": int((errors > (1 + LOSS) * life.usual).sum())}}
    return told
