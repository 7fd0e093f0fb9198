"""Search: hyperparameters and architecture by one study over quality, latency and size.

What is chosen is no worse than the default on validation and on earlier stretches, from several
seeds, and cheaper; or better at no cost (``proof``). What is tried is in ``trials``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from retrain.front import Tried, cheaper, picture
from retrain.proof import FOLDS, Proof, Proven
from retrain.quest import SEEDS, Quest, Spending
from retrain.record import Record
from retrain.trainer import Fitted, Options, teaches
from retrain.trials import DEFAULT, tried, whole


@dataclass(frozen=True, slots=True)
class Found:
    """What the search chose: the default again (``number`` None) or a trial, and why."""

    number: int | None
    fitted: Fitted
    options: Options
    artifact: Path
    default: Tried
    tried: tuple[Tried, ...]
    reason: str
    teachers: tuple[Fitted, ...] = ()
    """The defaults, one seed apart, where what was tried learned from their answers."""


def search(quest: Quest, spending: Spending, *, default: Fitted | None = None,
           said: Callable[[str], None] = lambda _: None) -> Found:
    """The best of the trials that is no worse than the default and cheaper, or better at no cost.

    ``default`` is the model of ``quest.options`` where it is fitted already. Trials that were
    finished before a kill count.
    """
    quest.folder.mkdir(parents=True, exist_ok=True)
    defaults = quest.defaults(quest.data, DEFAULT, first=default)
    fitted = defaults[0]
    artifact = quest.trainer.export(fitted, quest.contract, quest.folder / "default.onnx")
    first, trials = tried(quest, spending, artifact, loss=fitted.loss, said=said)
    chosen = Proof(quest, first).best(trials, spending.minutes)
    teachers = defaults if teaches(quest.trainer) else ()
    if chosen is not None:
        return _found(quest, chosen, first, trials, teachers)
    done = sum(item.state == "complete" for item in trials)
    return Found(None, fitted, quest.options, artifact, first, trials,
                 f"none of {done} complete trials (of {len(trials)}) is better than the default in "
                 "every respect, now and earlier", teachers)


def _found(quest: Quest, chosen: Proven, default: Tried, trials: tuple[Tried, ...],
           teachers: tuple[Fitted, ...]) -> Found:
    place = quest.folder / chosen.trial.folder
    smaller, faster = cheaper(chosen.trial, default)
    words = ", ".join(f"{gap:+.4f}" for gap in chosen.gaps)
    by = ", taught by the default's answers" if teachers else ""
    return Found(chosen.trial.number, whole(quest, chosen.options, place), chosen.options,
                 place / "model.onnx", default, trials,
                 f"trial {chosen.trial.number} of {len(trials)}{by}: worse than the default by "
                 f"{words} ({quest.metric} on validation and on {len(FOLDS)} earlier parts, means "
                 f"of {SEEDS} fits), {smaller:.2f} times smaller and {faster:.2f} times faster",
                 teachers)


def recorded(record: Record, found: Found, folder: Path) -> None:
    """Each trial as a nested run, and the picture of the front as an artifact."""
    teacher = "default" if found.teachers else "none"
    for item in found.tried:
        costs = {"loss": item.loss, "latency_batch_1_seconds": item.latency,
                 "size_bytes": item.size, "feasible": float(item.feasible)}
        about = {"state": item.state, "reason": item.reason, "teacher": teacher}
        record.trial(f"trial-{item.number}", dict(item.params) | about,
                     {key: float(value) for key, value in costs.items() if value is not None})
    record.file(picture(found.tried, found.default, found.number, folder / "front.png"),
                "search/front.png")
    record.json("search/trials.json", [asdict(item) for item in found.tried])
