"""Words: a verdict of the gate in sentences that hold their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from retrain.blocks import FEW
from retrain.checks import Check
from retrain.evaluate import Scores

CHAMPION, EARLIER = "the champion", "an earlier version"
NAMED = 5
"""Failed slices and groups that are named at most."""


def verdict(rows: Sequence[Check], n: int, *, candidate: Scores, metric: str) -> str:
    """Passed or refused, and why: what failed, or else the comparisons and what else was kept."""
    failed = [row for row in rows if not row.passed]
    versions = [row for row in rows if row.role in {CHAMPION, EARLIER}]
    if not failed and not versions:
        found = candidate.quality.get(metric)
        head = (f"Passed: there is no champion to compare with; {metric} "
                f"{shown(None if found is None else found.value)} on {n} holdout rows.")
        return " ".join([head, *_kept(rows)])
    head = f"{'Refused' if failed else 'Passed'} on the newest {n} holdout rows."
    told = [_sentence(row) for row in failed[:NAMED]]
    if len(failed) > NAMED:
        told.append(f"{len(failed) - NAMED} more checks failed.")
    if not failed:
        told = [*map(_sentence, versions), *_kept(rows)]
    return " ".join([head, *told, *_few(versions)])


def _sentence(row: Check) -> str:
    if row.role in {CHAMPION, EARLIER}:
        return _version(row)
    return {"slice": _slice, "fairness": _fairness, "benchmark": _benchmark,
            "calibration": _calibration}.get(row.role, _cost)(row)


def _version(row: Check) -> str:
    own, other = shown(row.value), shown(row.other)
    if row.difference is None:
        return (f"Its {row.metric} cannot be compared with that of {row.against}, {row.role}: it "
                "is undefined on these rows.")
    borne = ""
    if row.role == CHAMPION and not row.passed and row.allowed:
        borne = (f", at least {-row.allowed:.3f} better is asked" if row.allowed < 0 else
                 f", surely more than the {row.allowed:.3f} that is borne")
    elif row.role == CHAMPION and row.difference > 0:
        borne = f", not surely more than the {row.allowed:.3f} that is borne of newer weights"
    instead = (f" ({row.asked} needs scores that are not logged)"
               if row.asked != row.metric else "")
    sure = f", {percent(row.sure)} sure to be better" if row.sure is not None else ""
    wanted = f", {100 * float(row.note):.4g}% is asked" if row.note else ""
    return (f"Its {row.metric}{instead} of {own} is {_change(row.difference)} than the {other} of "
            f"{row.against}, {row.role}{borne} ({_interval(row, 'gain')}{sure}{wanted}).")


def _interval(row: Check, what: str) -> str:
    if row.low is None or row.high is None:
        return f"{what} with an interval that {row.n} rows in one block cannot give"
    return (f"{what} with {100 * (row.level or 0):.4g}% confidence between {-row.high:+.3f} and "
            f"{-row.low:+.3f}, {row.blocks} blocks of {row.block}")


def _slice(row: Check) -> str:
    return (f"On {row.where} ({row.n} rows) its {row.metric} of {shown(row.value)} is surely more "
            f"than {shown(row.allowed)} worse than the {shown(row.other)} of {row.against} (at "
            f"least {shown(row.low)} worse, {row.blocks} blocks of {row.block}).")


def _fairness(row: Check) -> str:
    measure = row.metric.replace("_", " ")
    if row.value is None:
        return (f"The {measure} between the groups of {row.where} cannot be measured ({row.note}); "
                "right would be a longer training.holdout, or another rule.")
    if row.difference is None:
        return (f"The {measure} between the groups of {row.where} is {shown(row.value)}, at most "
                f"{shown(row.allowed)} is allowed.")
    return (f"The {measure} between the groups of {row.where} of {shown(row.value)} is "
            f"{row.difference:.3f} larger than that of {row.against}, at most {shown(row.allowed)} "
            "is allowed.")


def _benchmark(row: Check) -> str:
    if not row.judged:
        return f"Benchmark {row.where} was not passed: {row.note}."
    if row.difference is None:
        return (f"On benchmark {row.where} its {row.metric} is {shown(row.value)}, "
                f"{shown(row.allowed)} is asked.")
    return (f"On benchmark {row.where} its {row.metric} of {shown(row.value)} is "
            f"{_change(row.difference)} than the {shown(row.other)} of {row.against}, at most "
            f"{shown(row.allowed)} worse is allowed.")


def _calibration(row: Check) -> str:
    name = {"ece": "calibration error"}.get(row.metric, row.metric)
    return (f"Its {name} of {shown(row.value)} is {_change(row.difference)} than the "
            f"{shown(row.other)} of {row.against}, at most {shown(row.allowed)} worse is allowed.")


def _cost(row: Check) -> str:
    value = "not measured" if row.value is None else f"{row.value:.4g}"
    return f"Its {row.role} is {value} {row.metric}, at most {row.allowed:.4g} is allowed."


def _kept(rows: Sequence[Check]) -> list[str]:
    """What else was asked and kept, and what the rows could not tell."""
    told = []
    for role, plural in (("slice", "slices"), ("fairness", "rules of fairness"),
                         ("benchmark", "checks on benchmarks"), ("calibration", "calibrations"),
                         ("size", "sizes"), ("latency", "latencies")):
        judged = sum(row.role == role and row.judged for row in rows)
        if judged:
            told.append(f"{judged} {role if judged == 1 else plural}")
    unknown = [row for row in rows if not row.judged]
    lines = [f"Kept: {', '.join(told)}."] if told else []
    if unknown:
        lines.append(f"Not judged: {'; '.join(f'{row.where} ({row.note})' for row in unknown)}.")
    return lines


def _few(versions: Sequence[Check]) -> list[str]:
    """That few blocks say little, once."""
    blocks = min((row.blocks for row in versions if row.blocks), default=FEW)
    return [f"{blocks} blocks are few: such intervals are wide, and rightly so."] \
        if blocks < FEW else []


def _change(difference: float | None) -> str:
    if difference is None or math.isclose(difference, 0.0, abs_tol=5e-4):
        return "no different"
    return f"{abs(difference):.3f} {'worse' if difference > 0 else 'better'}"


def percent(share: float) -> str:
    """A confidence without false decimals: ``98%``, ``99.9%``."""
    return f"{100 * share:.1f}%" if share > 0.99 or share < 0.01 else f"{100 * share:.0f}%"


def shown(value: float | None) -> str:
    """A number of the verdict; unknown in words."""
    return "unknown" if value is None else f"{value:.3f}"
