"""Train: rows -> candidates, rung by rung -> gate -> a registered challenger."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from monitor.registry import Outcome
from monitor.window import isoformat
from retrain import challenger, fidelity, story
from retrain.ascent import Stakes, Ways, climbed
from retrain.barred import refuse_repeat
from retrain.benchmarks import read
from retrain.card import card
from retrain.checks import Rules
from retrain.contest import Contest, comparable, contest
from retrain.dataset import Dataset, Refusal, assemble, began_at, conform, usable
from retrain.evaluate import Scores
from retrain.golden import comparable as comparable_sets
from retrain.ground import Ground
from retrain.kept import keep
from retrain.ladder import best
from retrain.players import ground, promised
from retrain.points import Point, costed
from retrain.quantize import CALIBRATION_ROWS
from retrain.quest import Spending
from retrain.renew import renewed
from retrain.rungs import cheapest
from retrain.search import recorded
from retrain.trainer import Split
from retrain.windows import windows
from retrain.work import Work

WEIGHED = "nothing is lost: a blend is weighed anew, and no weights are fitted"
"""What withholds weights where the evidence asks for no more than that."""
FIRST = {"compression": "ranges", "follow_up": "refit"}
"""The action to begin with, by what the evidence is about."""


def train(work: Work) -> Outcome:
    """Registers a challenger that passed the gate, or records why there is none."""
    work.steps.next(f"rows of {work.model.name!r} as known at {isoformat(work.request.known_at)}")
    data = assemble(work.request, work.model, work.config.limits)
    work.steps.note(f"{data.rows} labelled rows of {data.window}")
    refuse_repeat(work, data.content_hash)
    found = contest(work, data)
    raw = comparable(data.split, found)
    split = Split(*(conform(part, found.contract)
                    for part in (raw.train, raw.validation, raw.holdout)))
    _describe(work, data, split, found)
    older = conform(usable(data.older, [found.contract]), found.contract)
    standing = ground(work, found, windows(split, older, request=work.request, model=work.model))
    meeting, not_run = standing.met(raw.holdout)
    if found.champion is not None and found.champion.name not in meeting:
        raise Refusal(f"the champion cannot be compared with: {not_run[found.champion.name]}")
    work.steps.next("climb the ladder")
    attempts = climbed(standing, _stakes(work, standing, found, meeting, rows=raw.holdout),
                       _ways(work, standing))
    keep(work, attempts, found.contract)
    taken = best(attempts, borne=standing.borne)
    result = story.summary(work, data, split, found=found) | story.story(
        work, taken or story.nearest(attempts), attempts, meeting=costed(standing, meeting),
        not_run=not_run)
    work.record.json("evaluation.json", result)
    work.record.text("card.md", card(result))
    if taken is None or taken.proposal is None:
        return work.record.conclude("refused", result["reason"], result=result)
    if taken.proposal.again is not None:
        return challenger.again(work, found, taken.proposal.again, result)
    assert taken.judged is not None
    work.steps.next("baseline of the candidate's own rows")
    baseline = challenger.brought(work, data, found, proposal=taken.proposal,
                                  scores=taken.judged.scores)
    proposal = taken.proposal
    if found.champion is not None and work.model.training.renew:
        work.steps.note("make it once more in the same way, on all rows")
        proposal = renewed(standing, proposal)
    fidelity.keep(work, found.contract, proposal, ranges=split.train.tail(CALIBRATION_ROWS),
                  later=pd.concat([split.validation, split.holdout], ignore_index=True))
    return challenger.registered(work, found, proposal, baseline=baseline, result=result,
                                 tried=split.holdout.head(64))


def _stakes(work: Work, standing: Ground, found: Contest, meeting: Mapping[str, Scores], *,
            rows: pd.DataFrame) -> Stakes:
    """What the climb is about; ``rows`` are the holdout's with every logged column."""
    rest, vain, spent, evidence = (work.request.options.get(name)
                                   for name in ("rest", "vain", "spent", "evidence"))
    sets = comparable_sets(read(work.model, work.config.limits), [standing.contract, *(
        item.contract for item in standing.everyone if item.artifact is not None)])
    return Stakes(meeting, Rules.of(work.model, rows), work.model.policy.performance.drop,
                  promised(work, found, standing.metric), sets,
                  f"weights were fitted lately; they rest until {rest}" if rest else "",
                  f"weights were fitted as often as is allowed until {spent}" if spent else
                  f"weights were fitted in vain lately; they rest until {vain}" if vain else
                  WEIGHED if evidence == "reweigh" else "",
                  FIRST.get(str(evidence), ""), began_at(work.request))


def _ways(work: Work, standing: Ground) -> Ways:
    asked = work.model.training.search
    return Ways(partial(_choice, work, standing),
                Spending(asked.trials, asked.minutes, asked.workers),
                lambda found: recorded(work.record, found, work.folder))


def _choice(work: Work, standing: Ground, rung: str, sizes: Mapping[str, Point]
            ) -> tuple[str, str]:
    """The point to go on with and why; measured times differ, so a choice once made stays."""
    tags = work.record.tags()
    if tags.get(f"holdfast.point.{rung}") in sizes:
        return tags[f"holdfast.point.{rung}"], tags.get(f"holdfast.choice.{rung}", "")
    name, why = cheapest(standing, sizes)
    work.steps.note(why)
    work.record.tag(f"holdfast.choice.{rung}", why)
    work.record.tag(f"holdfast.point.{rung}", name)
    return name, why


def _describe(work: Work, data: Dataset, split: Split, found: Contest) -> None:
    """Everything that makes the run repeatable, as parameters and artifacts."""
    training = work.model.training
    work.record.params({
        "kind": work.request.kind, "known_at": isoformat(work.request.known_at),
        "reason": work.request.reason, "champion": work.request.champion,
        "predecessors": ",".join(work.request.predecessors),
        "window_start": isoformat(data.window.start), "window_end": isoformat(data.window.end),
        "content_hash": data.content_hash, "train_rows": len(split.train),
        "validation_rows": len(split.validation), "holdout_rows": len(split.holdout),
        **{f"training.{name}": value for name, value in training.model_dump(mode="json").items()}})
    work.record.data(work.model.name, data.content_hash, work.model.log.source)
    work.record.json("contract.json", found.contract.to_dict(), exact=True)
    for item in found.everyone:
        if not item.runnable:
            work.steps.note(f"{item.name} cannot be run: {item.why}")
