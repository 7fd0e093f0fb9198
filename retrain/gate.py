"""The gate: may the candidate become a challenger, and in which compressed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from monitor.conditions import Gate
from monitor.performance import RELATIVE
from retrain import checks, words
from retrain.blocks import Paired
from retrain.checks import Check, Rules
from retrain.evaluate import Scores, compare, disagreement

CHAMPION, EARLIER = words.CHAMPION, words.EARLIER

MINIMUM_ROWS = 200
"""Fewer holdout rows say nothing about a candidate."""

COMPRESSION_ROWS = 200
"""Fewer validation rows never tell a compressed model from the uncompressed one."""

ERROR = 0.05
"""The error rate of a claim to be better, where ``training.gate.confidence`` names none."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether the candidate passed, why in words with numbers, and one row per comparison."""

    passed: bool
    reason: str
    table: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The compressed point taken, why in words, and one row per point."""

    scores: Scores
    reason: str
    table: tuple[dict[str, Any], ...]


def error_rate(asked: Gate) -> float:
    """The chance that a claim to be better is wrong, to be spent over all that is tried."""
    return ERROR if asked.confidence is None else 1 - asked.confidence


def spent(total: float, rung: int) -> float:
    """What the ``rung``-th look at the holdout (from 1) may spend: all looks sum to the total."""
    return total * 0.5**rung


def gate(candidate: Scores, champion: Scores | None, predecessors: Sequence[Scores], *,
         rules: Rules, level: float | None = None) -> GateResult:
    """Passed if the candidate is better than the champion by at least ``rules.gain`` (or not surely
    worse by more than ``rules.borne``), no worse than any earlier promoted version, and keeps what
    else is asked, on the same newest holdout.

    ``level`` is the error rate that this look at the holdout may spend: the intervals of the
    comparisons miss with that chance, and ``training.gate.confidence`` asks for 1 - ``level``. What
    harm is, is not asked more mildly of later looks.
    """
    n, level = len(candidate), error_rate(rules.asked) if level is None else level
    if n < MINIMUM_ROWS:
        return GateResult(False, f"Refused: the newest holdout holds {n} labelled rows; at least "
                                 f"{MINIMUM_ROWS} are needed to judge a candidate.", ())
    rows = list(_against(candidate, champion, predecessors, rules=rules, level=level))
    if champion is not None:
        rows += checks.slices(candidate, champion, rules)
    for check in (checks.fairness, checks.golden, checks.calibration):
        rows += check(candidate, champion, rules)
    rows += checks.costs(candidate, rules)
    passed = all(row.passed for row in rows)
    return GateResult(passed, words.verdict(rows, n, candidate=candidate, metric=rules.metric),
                      tuple(asdict(row) for row in rows))


def _against(candidate: Scores, champion: Scores | None, predecessors: Sequence[Scores], *,
             rules: Rules, level: float) -> Iterator[Check]:
    """The comparisons with the champion, by the gain asked for, and with earlier versions.

    Where a loss is borne only evidence of a larger one refuses, as on a slice: the interval lies
    beyond it.
    """
    if champion is not None:
        bears = rules.borne is not None
        row = _row(candidate, champion, CHAMPION, rules=rules,
                   level=2 * checks.HARM if bears else level)
        limit = allowed(champion, row.metric,
                        -rules.gain if rules.borne is None else rules.borne)
        least = row.low if bears and row.low is not None else row.difference
        enough = least is not None and least <= limit + 1e-12 and (bears or least < 0
                                                                   or rules.gain == 0)
        certain = bears or rules.asked.confidence is None or (
            row.sure is not None and row.sure >= 1 - level - 1e-12)
        yield replace(row, allowed=limit, passed=enough and certain,
                      note="" if certain else f"{1 - level:.4g}")
    for other in predecessors:
        row = _row(candidate, other, EARLIER, rules=rules, level=level)
        yield replace(row, allowed=0.0,
                      passed=row.difference is not None and row.difference <= 1e-12)


def _row(candidate: Scores, other: Scores, role: str, *, rules: Rules, level: float) -> Check:
    metric = checks.usable(candidate, other, rules.metric)
    found = compare(candidate, other, metric, block=rules.asked.season, level=1 - level)
    return Check(role, candidate.name, other.name, metric, _number(candidate, metric),
                 _number(other, metric), asked=rules.metric).measured(found)


def allowed(reference: Scores, metric: str, budget: float) -> float:
    """How much worse is borne, in the metric's units."""
    return checks.allowed(_number(reference, metric), metric, budget)


def _number(scores: Scores, metric: str) -> float | None:
    found = scores.quality.get(metric)
    return None if found is None else found.value


def _value(scores: Scores, metric: str) -> str:
    return words.shown(_number(scores, metric))


def choose(points: Sequence[Scores], *, reference: Scores, rules: Rules, budget: float) -> Choice:
    """The cheapest point that surely stays within the budget of the uncompressed reference, of
    those that keep the size and latency that ``rules`` ask for; of all where none does.

    Surely: the interval's upper end of the paired loss of quality lies within the budget, or (for
    accuracy) so few answers differ that no labels could show a larger loss. Cheap is the geometric
    mean of size and latency against the reference's.
    """
    metric = rules.metric
    needed = rows_needed(metric, budget)
    if len(reference) < needed:
        return Choice(reference, f"Uncompressed: {len(reference)} validation rows are too few to "
                                 f"tell a loss of {budget:g} from chance; {needed:g} are needed.",
                      ())
    limit = allowed(reference, metric, budget)
    rows = [_point(point, reference, metric, limit) | {"kept": _kept(point, rules)}
            for point in points]
    fit = [(not row["kept"], row["cost"], index) for index, row in enumerate(rows) if row["within"]]
    unkept, cost, index = min(fit, default=(True, 1.0, -1))
    if (unkept, cost) >= (not _kept(reference, rules), 1.0):
        return Choice(reference, f"Uncompressed: none of {len(points)} compressed models is both "
                                 f"cheaper and surely within {limit:.3g} {metric} of it"
                      + (", and keeps what is asked of size and latency." if _asks(rules) else "."),
                      tuple(rows))
    return Choice(points[index], _taken(points[index], reference, rows[index], metric),
                  tuple(rows))


def _asks(rules: Rules) -> bool:
    return rules.asked.max_size is not None or bool(rules.asked.max_latency)


def _kept(point: Scores, rules: Rules) -> bool:
    """Whether it is as small and as fast as is asked for."""
    return all(row.passed for row in checks.costs(point, rules))


def rows_needed(metric: str, budget: float) -> float:
    """Validation rows below which even no difference at all would prove nothing.

    Rule of three: no event in ``3 / p`` rows bounds its share by ``p`` with 95 % confidence.
    """
    if metric in RELATIVE or metric == "r2":
        return COMPRESSION_ROWS
    return max(COMPRESSION_ROWS, math.ceil(3 / budget) if budget else math.inf)


def _point(point: Scores, reference: Scores, metric: str, limit: float) -> dict[str, Any]:
    found: Paired = compare(point, reference, metric)
    differ = disagreement(point, reference) if point.answers.classes else 1.0
    within = found.high <= limit or (metric == "accuracy" and differ <= limit)
    return {"point": point.name, "metric": metric, "value": _number(point, metric),
            "allowed": limit, "disagreement": differ, "within": bool(within),
            "cost": cost(point, reference), "size_bytes": point.size_bytes,
            "latency": dict(point.latency), **asdict(found)}


def cost(point: Scores, reference: Scores) -> float:
    """Geometric mean of the size ratio and of the mean latency ratio; 1 where nothing is known."""
    logs = []
    if point.size_bytes and reference.size_bytes:
        logs.append(math.log(point.size_bytes / reference.size_bytes))
    times = [math.log(point.latency[batch] / reference.latency[batch])
             for batch in point.latency if batch in reference.latency]
    if times:
        logs.append(sum(times) / len(times))
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def _taken(taken: Scores, reference: Scores, row: dict[str, Any], metric: str) -> str:
    parts = [f"{taken.name}: {metric} {words.shown(row['value'])} against "
             f"{_value(reference, metric)}, at most {row['high']:.3f} worse with 97.5% confidence "
             f"({row['n']} validation rows, {row['disagreement']:.1%} answered otherwise)"]
    if taken.size_bytes and reference.size_bytes:
        parts.append(f"{reference.size_bytes / taken.size_bytes:.1f} times smaller")
    parts += [f"{reference.latency[batch] / seconds:.1f} times as fast at batch {batch}"
              for batch, seconds in taken.latency.items() if batch in reference.latency]
    return ", ".join(parts) + "."
