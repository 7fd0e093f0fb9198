"""The gate: may the candidate become a challenger, and in which compressed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from retrain.evaluate import Paired, Scores, compare, disagreement
from retrain.metrics import NEEDS_SHARES

RELATIVE = frozenset({"mae", "rmse"})
"""Metrics whose budget is a share of the reference value; others are in their own units."""

CHAMPION, EARLIER = "the champion", "an earlier version"

MINIMUM_ROWS = 200
"""Fewer holdout rows say nothing about a candidate."""

COMPRESSION_ROWS = 200
"""Fewer validation rows never tell a compressed model from the uncompressed one."""


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


def gate(candidate: Scores, champion: Scores | None, predecessors: Sequence[Scores], *,
         metric: str, gain: float = 0.0) -> GateResult:
    """Passed if the candidate is better than the champion by at least ``gain`` and no worse than
    any earlier promoted version, all on the same newest holdout.

    The point value decides and the interval is told: with four weeks of holdout an interval would
    let every candidate pass.
    """
    n = len(candidate)
    if n < MINIMUM_ROWS:
        return GateResult(False, f"Refused: the newest holdout holds {n} labelled rows; at least "
                                 f"{MINIMUM_ROWS} are needed to judge a candidate.", ())
    if champion is None and not predecessors:
        return GateResult(True, f"Passed: there is no champion to compare with; {metric} "
                                f"{_value(candidate, metric)} on {n} holdout rows.", ())
    rows = []
    if champion is not None:
        rows.append(_row(candidate, champion, CHAMPION, metric=metric, budget=-gain))
    rows += [_row(candidate, other, EARLIER, metric=metric, budget=0.0)
             for other in predecessors]
    failed = [row for row in rows if not row["passed"]]
    told = " ".join(_sentence(row) for row in failed or rows)
    verdict = "Refused" if failed else "Passed"
    return GateResult(not failed, f"{verdict} on the newest {n} holdout rows. {told}", tuple(rows))


def _row(candidate: Scores, other: Scores, role: str, *, metric: str, budget: float
         ) -> dict[str, Any]:
    asked = metric
    if metric in NEEDS_SHARES and (candidate.judged.share is None or other.judged.share is None):
        metric = "accuracy"
    found = compare(candidate, other, metric)
    limit = allowed(other, metric, budget)
    return {"candidate": candidate.name, "against": other.name, "role": role, "metric": metric,
            "asked": asked, "value": _number(candidate, metric), "other": _number(other, metric),
            "allowed": limit, "passed": bool(found.difference <= limit + 1e-12), **asdict(found)}


def allowed(reference: Scores, metric: str, budget: float) -> float:
    """How much worse is borne, in the metric's units."""
    value = _number(reference, metric)
    if metric in RELATIVE and value is not None:
        return budget * value
    return budget


def _number(scores: Scores, metric: str) -> float | None:
    found = scores.quality.get(metric)
    return None if found is None else found.value


def _value(scores: Scores, metric: str) -> str:
    value = _number(scores, metric)
    return "unknown" if value is None else f"{value:.3f}"


def _sentence(row: dict[str, Any]) -> str:
    worse = row["difference"] > 0
    change = f"{abs(row['difference']):.3f} {'worse' if worse else 'better'}"
    if math.isclose(row["difference"], 0.0, abs_tol=5e-4):
        change = "no different"
    asked = row["role"] == CHAMPION and not row["passed"] and row["allowed"] < 0
    borne = f", at least {-row['allowed']:.3f} better is asked" if asked else ""
    own, other = _shown(row["value"]), _shown(row["other"])
    instead = (f" ({row['asked']} needs scores that are not logged)"
               if row["asked"] != row["metric"] else "")
    return (f"Its {row['metric']}{instead} of {own} is {change} than the {other} of "
            f"{row['against']}, {row['role']}{borne} (gain with 95% confidence between "
            f"{-row['high']:+.3f} and {-row['low']:+.3f}, {row['blocks']} blocks of "
            f"{row['block']}).")


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def choose(points: Sequence[Scores], *, reference: Scores, metric: str, budget: float) -> Choice:
    """The cheapest point that surely stays within the budget of the uncompressed reference.

    Surely: the interval's upper end of the paired loss of quality lies within the budget, or (for
    accuracy) so few answers differ that no labels could show a larger loss. Cheap is the geometric
    mean of size and latency against the reference's.
    """
    needed = rows_needed(metric, budget)
    if len(reference) < needed:
        return Choice(reference, f"Uncompressed: {len(reference)} validation rows are too few to "
                                 f"tell a loss of {budget:g} from chance; {needed:g} are needed.",
                      ())
    limit = allowed(reference, metric, budget)
    rows = [_point(point, reference, metric, limit) for point in points]
    fit = [(row["cost"], index) for index, row in enumerate(rows)
           if row["within"] and row["cost"] < 1.0]
    if not fit:
        return Choice(reference, f"Uncompressed: none of {len(points)} compressed models is both "
                                 f"cheaper and surely within {limit:.3g} {metric} of it.",
                      tuple(rows))
    row, taken = rows[min(fit)[1]], points[min(fit)[1]]
    return Choice(taken, _taken(taken, reference, row, metric), tuple(rows))


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
    parts = [f"{taken.name}: {metric} {_shown(row['value'])} against {_value(reference, metric)}, "
             f"at most {row['high']:.3f} worse with 97.5% confidence ({row['n']} validation rows, "
             f"{row['disagreement']:.1%} answered otherwise)"]
    if taken.size_bytes and reference.size_bytes:
        parts.append(f"{reference.size_bytes / taken.size_bytes:.1f} times smaller")
    parts += [f"{reference.latency[batch] / seconds:.1f} times as fast at batch {batch}"
              for batch, seconds in taken.latency.items() if batch in reference.latency]
    return ", ".join(parts) + "."
