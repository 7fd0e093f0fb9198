"""Ladder: the cheapest action that works, each proven on the newest rows, which open once a rung.

A rung whose proposal is no better than the champion on validation never opens the holdout. What
the whole climb may err by is spent over the rungs that do: a half, a quarter, an eighth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import structlog

from monitor.errors import HoldfastError, RegistryError, SourceError
from retrain.evaluate import Scores
from retrain.gate import ERROR, GateResult, spent
from retrain.proposal import Proposal

log = structlog.get_logger()

BROKEN = (MemoryError, RuntimeError, ValueError)
"""What libraries raise where they cannot go on; a GPU without memory is a ``RuntimeError``."""

Result = Literal["impossible", "no gain", "refused", "passed", "not tried"]


@dataclass(frozen=True, slots=True)
class Rung:
    """A named action; ``barred`` says why it may not be taken now, empty where it may.

    A ``straight`` one goes before the gate whatever validation says of it. A ``free`` one costs
    nothing beside those before it, and is tried though one of them gained enough.
    """

    name: str
    make: Callable[[], Proposal]
    barred: str = ""
    straight: bool = False
    free: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A proposal before the gate: its word, the scores on the holdout, and the gain over the
    champion there (None where there is no champion)."""

    verdict: GateResult
    scores: Scores
    gain: float | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one rung; gains are over the champion, positive where better."""

    rung: str
    result: Result
    reason: str
    seconds: float = 0.0
    proposal: Proposal | None = None
    validation: float | None = None
    judged: Judged | None = None
    broke: Exception | None = None
    """What nobody foresaw, without its traceback: that would hold what a GPU's memory holds."""

    @property
    def gain(self) -> float | None:
        """The gain over the champion on the holdout; None where it was not opened."""
        return None if self.judged is None else self.judged.gain

    def plain(self) -> dict[str, Any]:
        """As JSON, for the record of the run."""
        made = self.proposal
        return {"rung": self.rung, "result": self.result, "reason": self.reason,
                "cpu_seconds": round(self.seconds, 2), "what": made.what if made else None,
                "trained": bool(made and made.trained), "holdout_gain": self.gain,
                "validation_gain": _finite(self.validation)}


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked of proposals: their gain on validation (None: the champion learned from those
    rows itself, and only the gate can tell), the gate's word, and what is enough."""

    validation: Callable[[Proposal], float | None]
    gate: Callable[[Proposal, float], Judged]
    minimum_gain: float
    enough: float
    budget: timedelta
    error: float = ERROR
    """Chance that a claim to be better may be wrong, over all rungs that open the holdout."""
    against: str = "the champion"
    """Whom gains are over, in words."""


def climb(rungs: Sequence[Rung], trial: Trial, *, said: Callable[[str], None]) -> list[Attempt]:
    """One attempt per rung, in order; the climb ends at the first that gained enough.

    ``gate`` is asked with the error rate that this look at the holdout may spend. A rung that
    raises ``HoldfastError`` is recorded and the next one tried, and so is one in which a library
    broke. Where none passed then, the first of those errors is raised in the end.
    """
    attempts: list[Attempt] = []
    opened, over = 0, time.monotonic() + trial.budget.total_seconds()
    for rung in rungs:
        if rung.barred:
            attempts.append(Attempt(rung.name, "not tried", rung.barred))
            continue
        if attempts and time.monotonic() > over:
            attempts.append(Attempt(rung.name, "not tried", "the budget of the ladder is used up"))
            continue
        if not rung.free and any(
                item.result == "passed" and (item.gain is None or item.gain >= trial.enough)
                for item in attempts):
            attempts.append(Attempt(rung.name, "not tried", "a cheaper action gained enough"))
            continue
        attempt = _tried(rung, trial, spent(trial.error, opened + 1))
        opened += attempt.judged is not None
        said(f"{rung.name}: {attempt.result}: {attempt.reason}")
        attempts.append(attempt)
    broke = [item.broke for item in attempts if item.broke is not None]
    if broke and all(item.result != "passed" for item in attempts):
        raise broke[0]
    return attempts


def _tried(rung: Rung, trial: Trial, error: float) -> Attempt:
    """What becomes of the rung; raises where MLflow or the rows are away: that is not its own."""
    began = time.process_time()
    try:
        return _judged(rung, trial, error, began)
    except BROKEN as problem:
        log.warning("rung broke", rung=rung.name, exc_info=True)
        return Attempt(rung.name, "impossible", f"{type(problem).__name__}: {problem}",
                       time.process_time() - began, broke=_bare(problem))


def _judged(rung: Rung, trial: Trial, error: float, began: float) -> Attempt:
    try:
        proposal = rung.make()
    except (RegistryError, SourceError):
        raise
    except HoldfastError as problem:
        return Attempt(rung.name, "impossible", str(problem), time.process_time() - began)
    gain = trial.validation(proposal)
    made = Attempt(rung.name, "no gain", "", time.process_time() - began, proposal, gain)
    if gain is not None and gain < trial.minimum_gain and not rung.straight:
        return replace(made, reason=f"{proposal.what}: {gain:+.4f} on validation against "
                                    f"{trial.against}, at least {trial.minimum_gain:+.4f} is asked")
    judged = trial.gate(proposal, error)
    return replace(made, result="passed" if judged.verdict.passed else "refused", judged=judged,
                   reason=f"{proposal.what}: {judged.verdict.reason}",
                   seconds=time.process_time() - began)


def _bare(problem: Exception) -> Exception:
    problem.__cause__ = problem.__context__ = None
    return problem.with_traceback(None)


def best(attempts: Sequence[Attempt], *, borne: float = 0.0) -> Attempt | None:
    """Of those that passed the one that gained most on validation; None where none passed.

    The holdout let them pass and chooses no further among them, unless validation can tell of none.
    A blend, the newest before an older one, goes before what gained no more than ``borne`` beyond
    it: it can hold that too. Where something is borne the holdout tells this, as where validation
    does not tell of all: there a blend is worth less than it is, by weights of a part of the rows.
    """
    passed = [item for item in attempts if item.result == "passed"]
    told = [item for item in passed if item.validation is not None]
    weighed = [item for item in passed if item.proposal and item.proposal.rung == "blend"]

    by_holdout = borne > 0 or len(told) < len(passed)

    def worth(item: Attempt) -> float:
        return (item.gain if by_holdout else item.validation) or 0.0

    if weighed and worth(weighed[-1]) >= max(map(worth, passed)) - borne:
        return weighed[-1]
    if told:
        return max(told, key=lambda item: item.validation or 0.0)
    return max(passed, key=lambda item: item.gain or 0.0, default=None)


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value
