"""Ascent: the ladder climbed on a job's ground, each proposal before the gate."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from retrain import rungs
from retrain.benchmarks import read
from retrain.checks import RELATIVE, Rules
from retrain.contest import Contest
from retrain.evaluate import Scores, compare, size
from retrain.gate import error_rate, gate
from retrain.golden import comparable, measured
from retrain.ground import Ground
from retrain.ladder import Attempt, Judged, Rung, Trial, climb
from retrain.metrics import LOWER_IS_BETTER
from retrain.players import promised
from retrain.points import Point
from retrain.rungs import Proposal
from retrain.search import Found, Spending, recorded
from retrain.work import Work

SEVERE = 2.0
"""Times ``policy.performance.drop`` below its promise at which a model may be trained though its
weights should rest."""


def climbed(work: Work, standing: Ground, found: Contest, meeting: Mapping[str, Scores], *,
            rows: pd.DataFrame) -> list[Attempt]:
    """Every rung's attempt; without a champion there is only the model from scratch.

    ``rows`` are the holdout's with every logged column, for the groups that are declared.
    """
    champion = standing.champion
    before = None if champion is None else standing.asked(champion, standing.validation)
    training = work.model.training

    def validation(proposal: Proposal) -> float:
        return float("inf") if before is None else -compare(proposal.scores, before,
                                                            standing.metric).difference

    sets = comparable(read(work.model, work.config.limits), [standing.contract, *(
        item.contract for item in found.everyone if item.contract and item.runnable)])
    rules, serving = Rules.of(work.model, rows), found.champion
    first = None if serving is None else measured(meeting[serving.name], serving.artifact,
                                                  serving.contract, sets)

    def judged(proposal: Proposal, error: float) -> Judged:
        work.steps.note(f"gate: {len(standing.holdout)} newest rows for {proposal.rung}")
        scores = measured(
            standing.scored("candidate", proposal.artifact, standing.holdout).measured(
                size_bytes=size(proposal.artifact), latency=proposal.scores.latency),
            proposal.artifact, standing.contract, sets)
        others = [item for name, item in meeting.items()
                  if name != (proposal.again or "") and (first is None or name != first.name)]
        verdict = gate(scores, first, others, rules=rules, level=error)
        return Judged(verdict, scores, None if first is None else -compare(
            scores, first, standing.metric).difference)

    lost = _lost(work, found, before)
    trial = Trial(validation, judged, training.minimum_gain,
                  max(training.minimum_gain, training.enough * lost), training.budget,
                  error_rate(training.gate),
                  "the champion" if serving is None else f"{serving.name}, the champion")
    work.steps.next("climb the ladder")
    return climb(_rungs(work, standing, lost), trial, said=work.steps.note)


def _rungs(work: Work, standing: Ground, lost: float) -> list[Rung]:
    def choice(rung: str, sizes: Mapping[str, Point]) -> tuple[str, str]:
        return _choice(work, standing, rung, sizes)

    def priced(proposal: Proposal) -> Proposal:
        return rungs.priced(standing, proposal)

    def told(found: Found) -> None:
        recorded(work.record, found, work.folder)

    asked = work.model.training.search
    spending = Spending(asked.trials, asked.minutes, asked.workers)
    barred = _barred(work, lost)
    known = {
        "recall": Rung("recall", lambda: priced(rungs.recall(standing))),
        "probabilities": Rung("probabilities", lambda: priced(rungs.probabilities(standing))),
        "ranges": Rung("ranges", lambda: priced(rungs.ranges(standing))),
        "tune": Rung("tune", lambda: rungs.tune(standing, choice), barred),
        "refit": Rung("refit", lambda: rungs.refit(standing, choice), barred),
        "search": Rung("search", lambda: rungs.seek(standing, choice, spending, told=told),
                       barred)}
    if standing.champion is None:
        return [known["refit"]]
    order = work.model.training.ladder
    if work.request.options.get("evidence") == "compression":
        order = sorted(order, key=lambda name: name != "ranges")
    return [known[name] for name in order]


def _barred(work: Work, lost: float) -> str:
    """Why no weights may be fitted; empty where they may, as after a severe loss."""
    until, drop = work.request.options.get("rest"), work.model.policy.performance.drop
    if not until or lost >= SEVERE * drop:
        return ""
    return f"weights were fitted lately; they rest until {until}"


def _choice(work: Work, standing: Ground, rung: str, sizes: Mapping[str, Point]
            ) -> tuple[str, str]:
    """The point to go on with and why; measured times differ, so a choice once made stays."""
    tags = work.record.tags()
    if tags.get(f"holdfast.point.{rung}") in sizes:
        return tags[f"holdfast.point.{rung}"], tags.get(f"holdfast.choice.{rung}", "")
    name, why = rungs.cheapest(standing, sizes)
    work.steps.note(why)
    work.record.tag(f"holdfast.choice.{rung}", why)
    work.record.tag(f"holdfast.point.{rung}", name)
    return name, why


def _lost(work: Work, found: Contest, before: Scores | None) -> float:
    """What the champion lost on validation against what it promised; 0 where that is unknown."""
    metric, hoped = work.model.metric, promised(work, found)
    now = None if before is None else before.quality[metric].value
    if hoped is None or now is None:
        return 0.0
    lost = (now - hoped) if metric in LOWER_IS_BETTER else (hoped - now)
    return max(0.0, lost / abs(hoped) if metric in RELATIVE and hoped else lost)
