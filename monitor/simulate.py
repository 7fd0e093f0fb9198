"""A simulated prediction stream: deliveries, and whether they come late.

Daily and weekly season, autocorrelated weather and traffic, missing values, delayed
labels, a slow drift (traffic thickens week by week) and an abrupt one (a new depot: other
distances and vehicles, and lateness has other causes). Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

START = datetime(2026, 1, 5, tzinfo=UTC)
ZONES = ("north", "harbour", "centre", "campus", "hills", "market", "south", "airport")
VEHICLES = ("bike", "scooter", "car")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long the stream is and when it drifts, in days since its start."""

    days: int = 168
    rows_per_day: int = 300
    slow_from: int = 70
    abrupt_at: int = 98
    seed: int = 7

    @property
    def abrupt(self) -> datetime:
        return START + timedelta(days=self.abrupt_at)


def deliveries(plan: Plan) -> pd.DataFrame:
    """One row per delivery, sorted by ``timestamp``.

    Columns: ``request_id, timestamp, received_at`` (UTC), the features ``distance_km, items,
    temperature_c, rain_mm, traffic, courier_days, vehicle, zone, prepaid``, the true ``late``
    ("yes"/"no") and ``label_at``, when it became known.
    """
    rng = np.random.default_rng(plan.seed)
    hours = _arrivals(plan, rng)
    n = len(hours)
    weather = _weather(plan, rng)
    hour_index = hours.astype(int)
    drifted = hours >= plan.abrupt_at * 24
    slow = np.clip((hours / 24 - plan.slow_from) / 60, 0, 1)
    vehicle = np.where(
        drifted,
        rng.choice(VEHICLES, n, p=[0.2, 0.6, 0.2]),
        rng.choice(VEHICLES, n, p=[0.5, 0.3, 0.2]),
    )
    frame = pd.DataFrame(
        {
            "distance_km": rng.lognormal(np.where(drifted, 1.15, 1.0), 0.5).round(2),
            "items": 1 + rng.poisson(2.2, n),
            "temperature_c": weather["temperature"][hour_index].round(1),
            "rain_mm": weather["rain"][hour_index].round(2),
            "traffic": (
                weather["traffic"][hour_index] + 0.25 * slow + rng.normal(0, 0.15, n)
            ).round(3),
            "courier_days": rng.integers(1, 900, n),
            "vehicle": vehicle,
            "zone": rng.choice(ZONES, n, p=[0.22, 0.18, 0.16, 0.13, 0.11, 0.09, 0.07, 0.04]),
            "prepaid": rng.random(n) < 0.7,
        }
    )
    late = rng.random(n) < _lateness(frame, drifted, hours)
    frame["late"] = np.where(late, "yes", "no")
    _lose(frame, rng)
    return _stamp(frame, hours, rng)


def _arrivals(plan: Plan, rng: np.random.Generator) -> Floats:
    """Hours since the start at which deliveries happen: busy evenings, quiet Mondays."""
    hour = np.arange(plan.days * 24)
    daily = 1 + 0.9 * np.sin((hour % 24 - 11) / 24 * 2 * np.pi)
    weekly = np.array([0.75, 0.9, 0.95, 1.0, 1.2, 1.25, 0.95])[(hour // 24) % 7]
    level = np.exp(_autoregressive(len(hour), 0.97, 0.05, rng))
    rate = daily * weekly * level
    counts = rng.poisson(plan.rows_per_day / 24 * rate / rate.mean())
    return np.sort(np.repeat(hour, counts) + rng.random(counts.sum()))


def _weather(plan: Plan, rng: np.random.Generator) -> dict[str, Floats]:
    hours = np.arange(plan.days * 24)
    clock = hours % 24
    temperature = (
        9 + 5 * np.sin((clock - 9) / 24 * 2 * np.pi) + _autoregressive(len(hours), 0.985, 0.5, rng)
    )
    wet = _autoregressive(len(hours), 0.95, 0.35, rng)
    rain = np.where(wet > 0.9, (wet - 0.9) * 3, 0.0)
    rush = np.exp(-0.5 * ((clock - 18) / 2.5) ** 2) + 0.7 * np.exp(
        -0.5 * ((clock - 8.5) / 1.5) ** 2
    )
    weekend = (hours // 24) % 7 >= 5
    traffic = 1 + rush * np.where(weekend, 0.5, 1.0) + _autoregressive(len(hours), 0.9, 0.06, rng)
    return {"temperature": temperature, "rain": rain, "traffic": traffic}


def _autoregressive(n: int, memory: float, noise: float, rng: np.random.Generator) -> Floats:
    """An AR(1) path of length ``n``, started in its stationary distribution."""
    shocks = rng.normal(0, noise, n)
    path = np.empty(n)
    path[0] = shocks[0] / np.sqrt(1 - memory**2)
    for index in range(1, n):
        path[index] = memory * path[index - 1] + shocks[index]
    return path


def _lateness(frame: pd.DataFrame, drifted: npt.NDArray[np.bool_], hours: Floats) -> Floats:
    """The probability that each delivery comes late; after the new depot, other things matter."""
    distance = np.log(frame["distance_km"]).to_numpy()
    traffic, rain = frame["traffic"].to_numpy(), frame["rain_mm"].to_numpy()
    new = np.minimum(frame["courier_days"].to_numpy() / 200, 1)
    bike, scooter = (
        (frame["vehicle"] == "bike").to_numpy(),
        (frame["vehicle"] == "scooter").to_numpy(),
    )
    hills = frame["zone"].isin(["hills", "airport", "harbour"]).to_numpy()
    before = (
        2.6 * (distance - 1.0)
        + 2.4 * (traffic - 1.45)
        + 0.4 * rain
        + 0.9 * bike * (rain > 0)
        - 1.3 * new
        + 1.4 * hills
    )
    after = (
        2.2 * (distance - 1.1)
        + 1.8 * (traffic - 1.6)
        + 0.4 * rain
        - 2.2 * new
        + 0.6
        + 2.4 * scooter * hills
        - 1.8 * scooter * ~hills
        + 0.35 * (frame["items"] - 3)
    )
    probability: Floats = 1 / (1 + np.exp(-1.4 * np.where(drifted, after, before)))
    return probability


def _lose(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    """Missing values: a sensor that fails now and then, a form field left empty."""
    frame.loc[rng.random(len(frame)) < 0.03, "temperature_c"] = np.nan
    frame.loc[rng.random(len(frame)) < 0.02, "courier_days"] = np.nan
    frame.loc[rng.random(len(frame)) < 0.01, "zone"] = None


def _stamp(frame: pd.DataFrame, hours: Floats, rng: np.random.Generator) -> pd.DataFrame:
    n = len(frame)
    timestamp = pd.Timestamp(START) + pd.to_timedelta((hours * 3600).round(3), unit="s")
    received = timestamp + pd.to_timedelta(rng.exponential(40, n).round(3), unit="s")
    straggler = rng.random(n) < 0.004
    received = received.where(~straggler, received + pd.Timedelta(hours=9))
    label_at = timestamp + pd.to_timedelta(
        6 * 3600 + rng.exponential(30 * 3600, n).round(3), unit="s"
    )
    frame.insert(0, "request_id", [f"d{index:07d}" for index in range(n)])
    frame.insert(1, "timestamp", timestamp.astype("datetime64[us, UTC]"))
    frame.insert(2, "received_at", received.astype("datetime64[us, UTC]"))
    frame["label_at"] = label_at.astype("datetime64[us, UTC]")
    return frame
