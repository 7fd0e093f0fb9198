"""Ground: what every rung of the ladder stands on; rows, versions, the trainer and a folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from monitor.policy import Training
from retrain.contract import Contract
from retrain.dataset import CHOICE_ROWS, Refusal, conform
from retrain.evaluate import Answers, Scores, answer, compare, difference, score, scored, session
from retrain.metrics import METRICS, NEEDS_SHARES
from retrain.trainer import Fitted, Options, Split, Trainer

Note = Callable[[str], None]
Stage = Callable[[str, Sequence[Mapping[str, float]]], None]


@dataclass(frozen=True, slots=True)
class Player:
    """A version that stands against the candidates: its artifact, contract, and own weights.

    ``parent`` is the artifact that it was quantized from, ``whole`` what it was before units were
    removed; ``logged`` answers for a champion that
    cannot be run; ``why`` says why it cannot.
    """

    name: str
    contract: Contract
    artifact: Path | None = None
    fitted: Fitted | None = None
    parent: Path | None = None
    logged: Callable[[pd.DataFrame], Answers] | None = None
    why: str = ""
    until: datetime | None = None
    """The newest event time that its weights were fitted on; None where nobody knows."""
    barred: str = ""
    """Why it may not be proposed again; empty where it may."""
    single: bool = True
    """Whether it is one model as it was fitted, which a mixture may take; not one that was bent,
    made of several, or fitted once more on all rows (as it was first, it is kept)."""
    blend: bool = False
    """Whether it is several models that answer together."""
    size: int | None = None
    """Bytes of all its files in MLflow, where that noted it."""
    whole: Path | None = None


@dataclass(frozen=True)
class Ground:
    """Rows by training window, who serves and served, how to train, and where to put files.

    ``splits`` are (name, split): all share one validation and one holdout part.
    """

    trainer: Trainer
    options: Options
    contract: Contract
    metric: str
    metrics: tuple[str, ...]
    training: Training
    splits: tuple[tuple[str, Split], ...]
    champion: Player | None
    predecessors: tuple[Player, ...]
    folder: Path
    note: Note
    stage: Stage
    kept: tuple[Player, ...] = ()
    """Models of earlier trainings, newest first, whether a version came of them or not."""

    @property
    def validation(self) -> pd.DataFrame:
        return self.splits[0][1].validation

    @property
    def holdout(self) -> pd.DataFrame:
        return self.splits[0][1].holdout

    def split(self, name: str) -> Split:
        """The rows of the training window of this name."""
        return dict(self.splits)[name]

    def scored(self, name: str, artifact: Path, frame: pd.DataFrame) -> Scores:
        """An artifact of the common contract on these rows."""
        return score(name, self.answers(artifact, frame), frame, contract=self.contract,
                     metrics=self.metrics)

    def answers(self, artifact: Path, frame: pd.DataFrame) -> Answers:
        """What an artifact of the common contract says about these rows."""
        return answer(session(artifact), frame, self.contract)

    @property
    def blended(self) -> bool:
        """Whether the champion is a blend that may be weighed anew."""
        return (self.champion is not None and self.champion.blend
                and "blend" in self.training.ladder)

    @property
    def borne(self) -> float:
        """How much less than another candidate a blend may gain and go before it: nothing, unless
        one serves already."""
        return self.training.gate.blend_budget if self.blended else 0.0

    @property
    def everyone(self) -> list[Player]:
        """The champion, where there is one, and the earlier versions."""
        return [*([self.champion] if self.champion else []), *self.predecessors]

    def asked(self, player: Player, frame: pd.DataFrame) -> Scores:
        """A version on these rows, by its artifact or its logged answers.

        ``HoldfastError`` where it can be asked by neither.
        """
        if player.artifact is not None:
            rows = conform(frame, player.contract)
            answers = answer(session(player.artifact), rows, player.contract)
        elif player.logged is not None:
            rows, answers = frame, player.logged(frame)
        else:
            raise Refusal(player.why)
        return score(player.name, answers, rows, contract=player.contract, metrics=self.metrics)

    def met(self, frame: pd.DataFrame) -> tuple[dict[str, Scores], dict[str, str]]:
        """The scores of all versions by name, and why the others could not be asked."""
        scores: dict[str, Scores] = {}
        not_run: dict[str, str] = {}
        for player in self.everyone:
            try:
                scores[player.name] = self.asked(player, frame)
            except HoldfastError as error:
                not_run[player.name] = str(error)
        return scores, not_run

    @cached_property
    def standing(self) -> Scores | None:
        """The champion on the validation rows; None where there is none."""
        return None if self.champion is None else self.asked(self.champion, self.validation)

    @property
    def deciding(self) -> str:
        """The metric; accuracy where it needs scores that candidates, as the contract has it, or
        the champion's log do not give."""
        if self.metric not in NEEDS_SHARES:
            return self.metric
        given = scored(self.contract) and (
            self.standing is None or self.standing.judged.share is not None)
        return self.metric if given else "accuracy"

    def gain(self, scores: Scores) -> float:
        """How much better than the champion on validation; infinite where there is none.

        To choose among proposals: the champion may have learned from those rows.
        """
        return math.inf if self.standing is None else -compare(scores, self.standing,
                                                               self.metric).difference

    def proven(self, scores: Scores, again: str | None = None) -> float | None:
        """The gain on validation rows that neither the champion nor the version that is proposed
        ``again`` has learned from; None where they are fewer than ``CHOICE_ROWS``."""
        if self.standing is None:
            return math.inf
        known = [player.until for player in self.everyone if player.until is not None
                 and player.name in {again, self.standing.name}]
        fresh: NDArray[np.float64] = np.ones(len(scores))
        if known:
            fresh = np.asarray(scores.timestamps >= max(known), dtype=np.float64)
        if fresh.sum() < CHOICE_ROWS:
            return None
        return -float(difference(scores.judged, self.standing.judged, self.metric)(fresh))


def metrics(task: str, metric: str) -> tuple[str, ...]:
    """What is measured beside the metric that decides."""
    asked = {"binary": ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss"),
             "multiclass": ("accuracy", "balanced_accuracy", "log_loss"),
             "regression": ("mae", "rmse", "r2")}[task]
    return tuple(dict.fromkeys((metric, *(name for name in asked if name in METRICS))))
