"""Story: what a job did and found, as the record of the run and the card tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from monitor.errors import HoldfastError
from monitor.window import isoformat
from retrain.contest import Contest
from retrain.dataset import Dataset
from retrain.evaluate import Scores
from retrain.ladder import Attempt
from retrain.proposal import Proposal
from retrain.trainer import Split
from retrain.work import Work


def summary(work: Work, data: Dataset, split: Split, *, found: Contest) -> dict[str, Any]:
    """What was asked and which rows there were."""
    request = work.request
    return {
        "model": work.model.name, "request_id": request.request_id, "asked": request.reason,
        "parent": f"version {request.champion}" if found.champion else None,
        "known_at": isoformat(request.known_at), "metric": work.model.metric,
        "window": [isoformat(data.window.start), isoformat(data.window.end)],
        "content_hash": data.content_hash,
        "rows": {"train": len(split.train), "validation": len(split.validation),
                 "holdout": len(split.holdout)}}


def nearest(attempts: list[Attempt]) -> Attempt:
    """The attempt that a refusal is told by: the last that the gate saw, else the last made."""
    seen = [item for item in attempts if item.judged is not None]
    made = [item for item in attempts if item.proposal is not None]
    for found in (seen, made, attempts):
        if found:
            return found[-1]
    raise HoldfastError("training.ladder is empty; right would be at least one action")


def story(work: Work, shown: Attempt, attempts: list[Attempt], *, meeting: Mapping[str, Scores],
           not_run: Mapping[str, str]) -> dict[str, Any]:
    """The result for the record: the verdict, everybody's scores, and what every rung brought."""
    proposal, metric = shown.proposal, work.model.metric
    table = list(shown.judged.verdict.table) if shown.judged else []
    return {
        "passed": shown.result == "passed", "reason": _reason(shown, attempts),
        "rung": shown.rung, "gate": table, "not_run": dict(not_run),
        "ladder": [item.plain() for item in attempts],
        "trained": any(item.proposal is not None and item.proposal.trained for item in attempts),
        "holdout": {name: plain(scores, metric) for name, scores in meeting.items()}
        | ({"candidate": plain(shown.judged.scores, metric)} if shown.judged else {}),
        "point": proposal.point if proposal else "", "choice": proposal.choice if proposal else "",
        "what": proposal.what if proposal else "",
        "cost": cost(proposal),
        "points": {name: plain(scores, metric) for name, scores in
                   (proposal.points if proposal else {}).items()}}


def _reason(shown: Attempt, attempts: list[Attempt]) -> str:
    if shown.judged is not None:
        return shown.judged.verdict.reason
    told = "; ".join(f"{item.rung}: {item.reason}" for item in attempts
                     if item.result in {"impossible", "no gain"})
    return f"Refused: no action brought enough. {told}"


def cost(proposal: Proposal | None) -> dict[str, Any]:
    """Size in bytes and CPU seconds a call, as far as they were measured."""
    if proposal is None:
        return {}
    return {"size_bytes": proposal.artifact.stat().st_size,
            "latency": {str(batch): value for batch, value in proposal.scores.latency.items()}}


def finals(result: dict[str, Any], metric: str) -> dict[str, float]:
    """What the run shows of the candidate in MLflow's tables."""
    values = {f"holdout_{metric}": result["holdout"]["candidate"]["value"],
              "size_bytes": result["cost"]["size_bytes"],
              **{f"latency_batch_{batch}_seconds": value
                 for batch, value in result["cost"]["latency"].items()}}
    return {name: float(value) for name, value in values.items() if value is not None}


def plain(scores: Scores, metric: str) -> dict[str, Any]:
    """Scores as JSON: the deciding metric first, the others beside it."""
    decides = scores.quality[metric]
    return {"value": decides.value, "low": decides.low, "high": decides.high, "n": decides.n,
            "size_bytes": scores.size_bytes,
            "latency": {str(batch): value for batch, value in scores.latency.items()},
            "quality": {name: asdict(item) for name, item in scores.quality.items()}}
