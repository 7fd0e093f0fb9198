"""Golden: versions on the golden benchmark sets, scored as they are on the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from monitor.errors import HoldfastError
from retrain.benchmarks import Golden
from retrain.contract import Contract
from retrain.dataset import Refusal, conform, usable
from retrain.evaluate import Scores, answer, score, session


def comparable(sets: Iterable[Golden], contracts: Sequence[Contract]) -> tuple[Golden, ...]:
    """The sets with the rows that all of these models can be served with."""
    return tuple(replace(item, frame=usable(item.frame, contracts)) for item in sets)


def measured(scores: Scores, artifact: Path | None, contract: Contract | None,
             sets: Sequence[Golden]) -> Scores:
    """The scores with those of the same model on every benchmark set, in the same metrics; as they
    are where it cannot be run."""
    if artifact is None or contract is None or not sets:
        return scores
    return replace(scores, golden=on_each(scores.name, artifact, contract, sets=sets,
                                          metrics=tuple(scores.quality)))


def on_each(name: str, artifact: Path, contract: Contract, *, sets: Sequence[Golden],
            metrics: tuple[str, ...]) -> dict[str, Scores]:
    """One model's scores on every set, by the set's name; ``Refusal`` where one lacks an input."""
    ready, found = session(artifact), {}
    for item in sets:
        try:
            rows = conform(item.frame, contract)
        except HoldfastError as error:
            raise Refusal(f"benchmark {item.name!r}: {error}") from error
        found[item.name] = score(name, answer(ready, rows, contract), rows, contract=contract,
                                 metrics=metrics)
    return found
