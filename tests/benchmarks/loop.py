"""Does the loop pay? Four ways to keep one first version right, lived through day by day.

Each day's rows are answered by the version that serves; their labels are known ``DELAY`` later. All
policies begin with the same version and train with the same trainer (boosted trees) and the same
committed defaults: `never`; `blind`, every 30 days on the newest ``training.window``; `evidently`,
the same training whenever half of the columns drift by Evidently's default tests; and `holdfast`:
the product's ladder and gate, asked for when matured labels say that performance is being lost by
the product's rule, promoted automatically. A training is any run that fitted weights, promoted or
not. Scores are means over stretches of 30 days after the onset, weighted by rows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from monitor.allowance import overdue, withheld
from monitor.degradation import change
from monitor.performance import Performance
from monitor.performance import measure as counted
from monitor.request import Request
from monitor.window import Window, isoformat
from retrain.ascent import Stakes, Ways, climbed
from retrain.checks import Rules
from retrain.contract import Contract, default
from retrain.dataset import Lengths, by_time, lengths
from retrain.evaluate import Scores, answer, judged, score, session
from retrain.ground import Ground, Player, metrics
from retrain.ladder import Attempt, best
from retrain.metrics import METRICS
from retrain.renew import renewed
from retrain.rungs import cheapest
from retrain.scikit import Scikit
from retrain.train import WEIGHED
from retrain.trainer import Fitted, Options, Split
from retrain.windows import windows
from tests.benchmarks.courses import COURSES, Course, defaults, framed
from tests.benchmarks.peers import Evidently
from tests.benchmarks.windowed import Windows

DAY, DELAY, MONTH = timedelta(days=1), timedelta(days=7), timedelta(days=30)
WEEK = timedelta(days=7)
POOL = timedelta(days=28)
"""Matured event time that performance is pooled over, as in `monitor.fold`."""
POLICIES = ("never", "blind", "evidently", "holdfast")


def measure(quick: bool = False) -> dict[str, Any]:
    """{stream: {policy: {mean, trainings}}}; each is told as it ends, they take minutes."""
    names = ["elec2", "bike_sharing"] if quick else list(COURSES)
    found: dict[str, Any] = {name: {} for name in names}
    for name, policy in product(names, POLICIES):
        found[name][policy] = one = told(name, policy)
        print(f"{name} {policy}: {one['mean']:.3f} ({one['trainings']})", file=sys.stderr,
              flush=True)
    return found


def told(name: str, policy: str) -> dict[str, Any]:
    """The mean score after the onset and the number of trainings of one policy on one stream."""
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        life = Life(COURSES[name], Path(folder))
        getattr(life, policy)()
        return {"mean": life.mean(), "trainings": life.trainings, "acts": life.acts}


@dataclass(slots=True)
class Version:
    """A version on stage: its player, what it promised, and since when it serves."""

    player: Player
    promised: Performance


@dataclass
class Life:
    """One policy on one stream."""

    course: Course
    folder: Path
    trainings: int = 0
    acts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        course = self.course
        self.frame, self.model = framed(course), defaults(course)
        first = self.frame.head(course.first)
        classes = () if course.task == "regression" else tuple(sorted(
            self.frame["_label"].unique()))
        self.contract: Contract = default(first, course.task, classes=classes,
                                          positive=course.positive)
        self.options = Options(course.task, course.categorical, self.contract.classes)
        self.trainer = Scikit()
        self.metrics = metrics(course.task, course.metric)
        span = _span(first)
        split = by_time(first, span, Lengths(span.length * .2, span.length * .2))
        fitted = self.trainer.fresh(split, self.options)
        self.first = self._version("first", fitted, split.holdout)
        self.serving = self.first
        self.answered: list[tuple[pd.DataFrame, Path]] = []

    def _version(self, name: str, fitted: Fitted, holdout: pd.DataFrame) -> Version:
        path = self.trainer.export(fitted, self.contract, self.folder / f"{name}.onnx")
        return Version(Player(name, self.contract, path, fitted),
                       self.performance(self.scores(path, holdout)))

    def scores(self, artifact: Path, frame: pd.DataFrame) -> Scores:
        return score("it", answer(session(artifact), frame, self.contract), frame,
                     contract=self.contract, metrics=(self.course.metric,))

    def performance(self, scores: Scores) -> Performance:
        positive = None if self.course.positive is None else str(self.course.positive)
        return counted(scores.outcomes, self.course.metric, positive=positive, block=DAY)

    def days(self) -> list[datetime]:
        """Midnights from the first day lived through to the last."""
        start = self.frame["_timestamp"].iloc[self.course.first].floor("D")
        end = self.frame["_timestamp"].iloc[-1]
        return [day.to_pydatetime() for day in pd.date_range(start, end, freq="D")]

    def between(self, start: datetime, end: datetime) -> pd.DataFrame:
        times = self.frame["_timestamp"]
        low, high = (times.searchsorted(pd.Timestamp(at)) for at in (start, end))
        return self.frame.iloc[low:high].reset_index(drop=True)

    def live(self, act: Callable[[datetime], None]) -> None:
        """Each day: act on what is known, then answer the day's rows."""
        begun = self.frame["_timestamp"].iloc[self.course.first].to_pydatetime()
        for day in self.days():
            act(day)
            rows = self.between(max(day, begun), day + DAY)
            path = self.serving.player.artifact
            assert path is not None
            if self.answered and self.answered[-1][1] == path:
                rows = pd.concat([self.answered.pop()[0], rows], ignore_index=True)
            self.answered.append((rows, path))

    def mean(self) -> float:
        """The mean score after the onset over stretches of 30 days, weighted by rows."""
        onset = self.frame["_timestamp"].iloc[self.course.onset or self.course.first]
        frames, said = [], []
        for rows, path in self.answered:
            kept = rows[rows["_timestamp"] >= onset].reset_index(drop=True)
            if len(kept):
                frames.append(kept)
                said.append(judged(answer(session(path), kept, self.contract), kept,
                                   self.contract))
        times = pd.concat([frame["_timestamp"] for frame in frames], ignore_index=True)
        place = ((times - onset) // MONTH).to_numpy()
        whole = _joined(said)
        values = []
        for stretch in np.unique(place):
            inside = (place == stretch).astype(float)
            value = _value(whole, self.course.scored or self.course.metric, inside)
            if np.isfinite(value) and inside.sum() >= 100:
                values.append((value, inside.sum()))
        value, weight = np.array(values).T
        return float(np.average(value, weights=weight))

    def never(self) -> None:
        """The first version for ever."""
        self.live(lambda day: None)

    def blind(self) -> None:
        """A training every 30 days."""
        begun = self.days()[0]

        def act(day: datetime) -> None:
            if day > begun and (day - begun) % MONTH == timedelta(0):
                self._train(day)

        self.live(act)

    def evidently(self) -> None:
        """A training whenever half of the columns of the newest week drift from what the serving
        version was trained on; at rest for the cooldown after one."""
        tool = Evidently("evidently", .5)
        names = list(self.contract.inputs)
        begun = self.days()[0]
        coded = self.frame[names].apply(lambda item: item.astype("category")
                                        if item.dtype == object else item)
        tool.fit(_windows(coded.head(self.course.first)))
        self._rested = begun

        def act(day: datetime) -> None:
            week = self.between(day - WEEK, day)
            if day < begun + WEEK or day < self._rested or len(week) < 30:
                return
            if tool.scores(_windows(coded.loc[week["_place"]]))[0] < 1:
                return
            rows = self._train(day)
            if rows is not None:
                tool.fit(_windows(coded.loc[rows["_place"]]))
            self._rested = day + self.model.policy.retrain.cooldown

        self.live(act)

    def _train(self, day: datetime) -> pd.DataFrame | None:
        """A new model of the newest matured rows, promoted without a question."""
        end = day - DELAY
        rows = self.between(end - self.model.training.window, end)
        if len(rows) < 200 or (self.course.task != "regression" and rows["_label"].nunique() < 2):
            return None
        span = Window(rows["_timestamp"].min().to_pydatetime(), end)
        split = by_time(rows, span, Lengths(timedelta(0), span.length * .2))
        fitted = self.trainer.fresh(split, self.options)
        whole = self.trainer.fresh(Split(rows, split.validation, split.holdout),
                                   self.trainer.capped(self.options, fitted))
        self.trainings += 1
        self.serving = self._version(f"blind-{day:%Y%m%d}", whole, split.validation)
        return rows

    def holdfast(self) -> None:
        """The ladder, when matured labels say that quality is being lost."""
        self.versions = [self.serving]
        self._cooled = self._adopted = self._looked = self.days()[0]
        self.kept: list[Player] = []
        self.fitted: list[tuple[datetime, bool]] = []
        self.began: datetime | None = None
        self.live(self._watch)

    def _watch(self, day: datetime) -> None:
        """The product's word on labels of the version that serves; where it loses, the ladder.

        As in the product nothing begins before a week of them has matured, and before the version
        on probation was compared with its predecessor.
        """
        end, probation = day - DELAY, self.model.policy.probation.rows
        pool = self.between(max(end - POOL, self._adopted), end)
        if len(pool) < 100 or end - self._adopted < WEEK or day < self._cooled or (
                len(self.versions) > 1 and len(self.between(self._adopted, end)) < probation):
            return
        assert self.serving.player.artifact is not None
        now = self.performance(self.scores(self.serving.player.artifact, pool))
        rule = self.model.policy.performance.drop
        worse = [change(now, item.promised, metric=self.course.metric, drop=rule)
                 for item in (self.serving, self.first)]
        losing = any(item is not None and item.drops >= 1 for item in worse)
        rule, asked = self.model.policy.retrain, ""
        if not losing:
            self.began = None
            blend = self.serving.player.blend
            again = rule.reweigh if blend else rule.follow_up
            if again is None or len(self.versions) == 1 or day - self._looked < again:
                return
            late = overdue(self.fitted, day, self.model)
            asked = "refit" if late or not blend else "reweigh"
        elif self.began is None:
            self.began = pool["_timestamp"].min().to_pydatetime()
        self._cooled = day + self.model.policy.retrain.cooldown
        self._looked = day
        self._climb(day, asked)

    def _climb(self, day: datetime, before: str) -> None:
        training, end = self.model.training, day - DELAY
        begun = self.frame["_timestamp"].iloc[0].to_pydatetime()
        window = Window(max(end - training.window - training.holdout, begun), end)
        request = Request("it", "train", self.course.stream, "", day,
                          evidence={"since": isoformat(self.began)} if self.began else {})
        rows = self.between(window.start, window.end)
        split = by_time(rows, window, lengths(rows, window, request, self.model))
        if len(split.train) < 200 or min(len(split.validation), len(split.holdout)) < 50:
            return
        older = self.between(begun, min(window.start, self.days()[0]))
        place = self.folder / f"{day:%Y%m%d}"
        place.mkdir()
        others = [item.player for item in reversed(self.versions)
                  if item.player.name != self.serving.player.name]
        ground = Ground(self.trainer, self.options, self.contract, self.course.metric,
                        self.metrics, training,
                        tuple(windows(split, older, request=request, model=self.model)),
                        self.serving.player, tuple(others), place, lambda line: None,
                        lambda name, history: None, tuple(self.kept))
        meeting, _ = ground.met(ground.holdout)
        held = withheld(self.fitted, self.days()[0], day, self.model)
        attempts = climbed(ground, Stakes(
            meeting, Rules(ground.metric, training.minimum_gain, training.gate),
            self.model.policy.performance.drop,
            max(item.promised.value or 0.0 for item in (self.serving, self.first)),
            rest=held.get("rest", ""), spent=held.get("spent", "") or held.get("vain", "") or (
                WEIGHED if before == "reweigh" else ""),
            before=before, began=self.began),
            Ways(lambda _, sizes: cheapest(ground, sizes)))
        taken = best(attempts, borne=ground.borne)
        self.kept[:0] = [
            Player(f"{item.what} on {day:%Y-%m-%d}", self.contract, item.artifact, until=item.until)
            for attempt in attempts if attempt.proposal
            for item in attempt.proposal.kept.values()]
        if any(item.proposal and item.proposal.trained for item in attempts):
            self.trainings += 1
            self.fitted.append((day, taken is not None))
        self.acts.append(f"{day:%Y-%m-%d} " + (taken.rung if taken else "nothing"))
        if taken is not None:
            self._adopt(ground, taken, day)

    def _adopt(self, ground: Ground, taken: Attempt, day: datetime) -> None:
        self._adopted = day
        proposal, judged_ = taken.proposal, taken.judged
        assert proposal is not None
        assert judged_ is not None
        if proposal.again is not None:
            self.serving = next(item for item in self.versions
                                if item.player.name == proposal.again)
            return
        proposal = renewed(ground, proposal)
        until = proposal.until or (
            day - DELAY if proposal.trained else self.serving.player.until)
        player = Player(f"{taken.rung}-{day:%Y%m%d}", self.contract, proposal.artifact,
                        proposal.fitted, until=until, single=False,
                        blend=proposal.rung == "blend")
        self.serving = Version(player, self.performance(judged_.scores))
        self.versions.append(self.serving)


def _value(whole: Any, metric: str, inside: NDArray[np.float64]) -> float:
    if metric != "average_precision":
        return float(METRICS[metric](whole)(inside))
    rows = inside > 0
    return float(average_precision_score(whole.label[rows] == whole.positive,
                                         whole.share[rows, whole.positive]))


def _joined(parts: list[Any]) -> Any:
    from retrain.metrics import Judged as Rows

    share = (None if parts[0].share is None else np.concatenate([item.share for item in parts]))
    return Rows(np.concatenate([item.label for item in parts]),
                np.concatenate([item.answer for item in parts]), share, parts[0].classes,
                parts[0].positive)


def _span(frame: pd.DataFrame) -> Window:
    end = frame["_timestamp"].max() + pd.Timedelta(seconds=1)
    return Window(frame["_timestamp"].min().to_pydatetime(), end.to_pydatetime())


def _windows(frame: pd.DataFrame) -> Windows:
    """All the rows as one window."""
    return Windows(frame, np.array([0, len(frame)]))
