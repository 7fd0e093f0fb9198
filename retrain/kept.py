"""Kept: the models of earlier trainings, as artifacts of their runs, for a blend to take.

A training fits one model for each window of rows and proposes one of them. The others, and those
that the gate refused, cost nothing more to keep, and may be the right ones later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from monitor.registry import FOLDER
from monitor.window import isoformat, parse_time
from retrain.contract import Contract
from retrain.ground import Player
from retrain.ladder import Attempt
from retrain.work import Work

PLACE = "kept"
"""Folder of a run's artifacts that holds them."""

INDEX = "kept.json"

TAG = "holdfast.kept"
"""Tag of a run: how many models it keeps; written last, so that none is missing."""

RUNS = 16
"""Newest trainings whose models are looked at."""


def keep(work: Work, attempts: Sequence[Attempt], contract: Contract) -> None:
    """Log the models that were fitted on the way, whether one of them was taken or not."""
    models = {name: item for attempt in attempts if attempt.proposal is not None
              for name, item in attempt.proposal.kept.items()}
    if not models:
        return
    for name, item in models.items():
        work.record.file(item.artifact, f"{PLACE}/{name}.onnx")
    work.record.json(f"{PLACE}/{INDEX}", {
        "known_at": isoformat(work.request.known_at), "exclude": work.request.exclude,
        "contract": contract.to_dict(),
        "models": {name: {"what": item.what, "start": isoformat(item.start),
                          "until": isoformat(item.until)} for name, item in models.items()}},
        exact=True)
    work.record.tag(TAG, str(len(models)))


def kept(work: Work) -> tuple[Player, ...]:
    """The models of earlier trainings of this model, newest first; none where no blend is asked
    for.

    Left out are those that learned from rows which turned out faulty since, and those of a version
    that was rolled back.
    """
    if "blend" not in work.model.training.ladder:
        return ()
    barred = {str(number) for number in work.request.options.get("barred", ())}
    found: list[Player] = []
    for run in work.registry.runs(work.model.name, tag=TAG, most=RUNS,
                                  deployment=work.request.deployment):
        run_id = str(run.info.run_id)
        if run_id == work.record.run_id or run.data.tags.get("holdfast.version") in barred:
            continue
        found += _players(work, run_id)
    return tuple(found)


def _players(work: Work, run_id: str) -> list[Player]:
    folder = work.registry.folder(run_id, f"{FOLDER}/{PLACE}", work.folder / PLACE / run_id)
    if folder is None or not (folder / INDEX).is_file():
        return []
    index = json.loads((folder / INDEX).read_text())
    made = parse_time(index["known_at"])
    if made >= work.request.known_at:
        return []
    contract = Contract.from_dict(index["contract"])
    return [Player(f"the model {item['what']} ({made:%Y-%m-%d})", contract, path,
                   until=parse_time(item["until"]))
            for name, item in index["models"].items()
            if (path := folder / f"{name}.onnx").is_file() and not _faulty(work, item, index)]


def _faulty(work: Work, item: Mapping[str, Any], index: Mapping[str, Any]) -> bool:
    """Whether the model learned from a stretch that was not known to be faulty then."""
    known = {tuple(span) for span in index["exclude"]}
    return any((start, end) not in known and parse_time(start) <= parse_time(item["until"])
               and parse_time(end) > parse_time(item["start"])
               for start, end in work.request.exclude)


def single(tags: Mapping[str, str]) -> bool:
    """Whether a version with these tags is one model as it was fitted: of those that came by a
    rung, the model is kept as it was before it was fitted once more on all rows."""
    return "holdfast.rung" not in tags
