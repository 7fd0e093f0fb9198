"""Ascent: the ladder climbed on its ground, each proposal before the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from monitor.performance import RELATIVE
from monitor.window import isoformat
from retrain import rungs
from retrain.benchmarks import Golden
from retrain.bend import probabilities
from retrain.blend import blend, reblend
from retrain.checks import Rules, usable
from retrain.dataset import LEAST
from retrain.evaluate import Scores, compare, size
from retrain.gate import error_rate, gate
from retrain.golden import measured
from retrain.ground import Ground
from retrain.ladder import Attempt, Judged, Rung, Trial, climb
from retrain.metrics import LOWER_IS_BETTER
from retrain.proposal import Proposal
from retrain.quest import Spending
from retrain.rungs import Choose
from retrain.search import Found

SEVERE = 2.0
"""Times ``policy.performance.drop`` below its promise at which a model may be trained though its
weights should rest."""

FITTED = ("tune", "refit", "search")
"""Rungs that fit weights."""


@dataclass(frozen=True, slots=True)
class Stakes:
    """What a climb is about: ``meeting`` are everybody's scores on the holdout, by name.

    ``promised`` is what the champion or the first version promised of the deciding metric, where it
    is more (None: unknown), ``drop`` the loss that counts. ``rest`` says why weights should rest,
    ``spent`` why they may not be fitted at all; both are empty where nothing withholds them.
    ``before`` names the action that the evidence asks for first, ``began`` is when the drift did
    that it is about.
    """

    meeting: Mapping[str, Scores]
    rules: Rules
    drop: float
    promised: float | None = None
    sets: tuple[Golden, ...] = ()
    rest: str = ""
    spent: str = ""
    before: str = ""
    began: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ways:
    """How points are chosen, what a search may cost, and who is told of one."""

    choice: Choose
    spending: Spending = field(default_factory=Spending)
    told: Callable[[Found], None] = lambda found: None


def climbed(ground: Ground, stakes: Stakes, ways: Ways) -> list[Attempt]:
    """Every rung's attempt; without a champion there is only the model from scratch."""
    champion, training = ground.champion, ground.training
    first = None if champion is None else measured(
        stakes.meeting[champion.name], champion.artifact, champion.contract, stakes.sets)

    def judged(proposal: Proposal, error: float) -> Judged:
        ground.note(f"gate: {len(ground.holdout)} newest rows for {proposal.rung}")
        scores = measured(
            ground.scored("candidate", proposal.artifact, ground.holdout).measured(
                size_bytes=size(proposal.artifact), latency=proposal.scores.latency),
            proposal.artifact, ground.contract, stakes.sets)
        anew = ground.blended and proposal.rung == "blend"
        others = [item for name, item in stakes.meeting.items()
                  if not (anew or proposal.again) and (champion is None or name != champion.name)]
        rules = replace(stakes.rules, borne=training.gate.blend_budget) if anew else stakes.rules
        verdict = gate(scores, first, others, rules=rules, level=error)
        return Judged(verdict, scores, None if first is None else -compare(
            scores, first, usable(scores, first, ground.metric)).difference)

    lost = _lost(ground, stakes)
    trial = Trial(lambda made: ground.proven(made.scores, made.again), judged,
                  training.minimum_gain, max(training.minimum_gain, training.enough * lost),
                  training.budget, error_rate(training.gate),
                  "the champion" if champion is None else f"{champion.name}, the champion")
    return climb(_rungs(ground, stakes, ways, lost), trial, said=ground.note)


def _rungs(ground: Ground, stakes: Stakes, ways: Ways, lost: float) -> list[Rung]:
    """The rungs in the order that is asked for; a severe loss ends the weights' rest, where there
    is something to learn from.

    A blend is weighed anew, with models that are fitted for it; recall and bending are in that.
    Only the holdout tells whether newer weights are better: they are worth less on validation than
    they will be, by weights of a part of it. Models that were fitted are blended at once, whoever
    serves.
    """
    barred = stakes.spent or (_young(ground, stakes.began) if lost >= SEVERE * stakes.drop
                              else stakes.rest)
    fitted: list[Proposal] = []

    def cheap(make: Callable[[Ground], Proposal]) -> Callable[[], Proposal]:
        return lambda: rungs.priced(ground, make(ground))

    def fit(name: str, make: Callable[[Ground, Choose], Proposal]) -> Rung:
        def made() -> Proposal:
            fitted.append(make(ground, ways.choice))
            return fitted[-1]

        return Rung(name, made, barred)

    known = {
        "recall": Rung("recall", cheap(rungs.recall)),
        "blend": Rung("blend", cheap(blend), straight=ground.blended),
        "probabilities": Rung("probabilities", cheap(probabilities)),
        "ranges": Rung("ranges", cheap(rungs.ranges)),
        "tune": fit("tune", rungs.tune),
        "refit": fit("refit", rungs.refit),
        "search": fit("search", partial(rungs.seek, spending=ways.spending, told=ways.told))}
    if ground.champion is None:
        return [known["refit"]]
    order = [known[name] for name in _order(ground, stakes.before)]
    if "blend" in ground.training.ladder:
        order.append(Rung("reblend", cheap(lambda _: reblend(ground, fitted)), barred,
                          straight=ground.blended, free=True))
    return order


def _order(ground: Ground, before: str) -> list[str]:
    """The ladder's rungs, the one that is asked for first; fine-tuning after a model from scratch
    where it is no cheaper. Where a blend serves it alone goes before what fits weights."""
    names: list[str] = sorted(ground.training.ladder, key=lambda name: name != before)
    dear = not getattr(ground.trainer, "tunes_cheaply", True)
    if dear and {"tune", "refit"} <= set(names):
        names.remove("tune")
        names.insert(names.index("refit") + 1, "tune")
    if ground.blended:
        names = sorted((name for name in names if name in {"blend", *FITTED}),
                       key=lambda name: name in FITTED and name != before)
    return names


def _young(ground: Ground, began: datetime | None) -> str:
    """Why weights had better wait: so much is lost that only rows of the new kind can mend it, and
    hardly any are left to train on beside those that judge. Not for longer than twice a holdout.
    """
    newest = ground.holdout["_timestamp"].max()
    if began is None or newest - began > 2 * ground.training.holdout:
        return ""
    rows = max(int((split.train["_timestamp"] >= began).sum()) for _, split in ground.splits)
    return "" if rows >= LEAST["train"] else (
        f"since {isoformat(began)}, when this began, only {rows} rows are left to train on beside "
        f"those that judge; {LEAST['train']} are waited for")


def _lost(ground: Ground, stakes: Stakes) -> float:
    """What the champion lost against what it promised, on validation or on the newest rows, where
    it is more; 0 where that is unknown."""
    promised, champion = stakes.promised, ground.champion
    shown = [ground.standing, None if champion is None else stakes.meeting.get(champion.name)]
    lost = [0.0]
    for now in (scores.quality[ground.metric].value for scores in shown if scores is not None):
        if promised is not None and now is not None:
            gone = (now - promised) if ground.metric in LOWER_IS_BETTER else (promised - now)
            relative = ground.metric in RELATIVE and promised
            lost.append(gone / abs(promised) if relative else gone)
    return max(lost)
