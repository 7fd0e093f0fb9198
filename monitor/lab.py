"""Lab: several policies over the same history, and what each of them would have brought.

With ``act`` a policy trains and promotes on a stage of its own, and every row is answered by the
version that it would have deployed. Without, or where nothing can be trained, the logged answers
are watched: alarms, decisions and delays only.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TextColumn, TimeElapsedColumn

from monitor import comparison
from monitor.baseline import Baseline
from monitor.canonical import plain
from monitor.config import Loaded, Model
from monitor.course import Retrain
from monitor.errors import ConfigError, HoldfastError
from monitor.hindsight import DAY, Days, Rule, alarmed, losses, noticed, worth
from monitor.outcomes import total
from monitor.performance import HIGHER_IS_BETTER, Performance, measure
from monitor.policies import Variant, variants
from monitor.rehearsal import left_out
from monitor.trial import Opening, Trial, opening, trial
from monitor.watching import past, watched
from monitor.window import Window, format_duration, isoformat

WITHIN = timedelta(days=30)
"""How soon after its start a degradation should be noticed, and a loss follow an alarm."""
PERIODS = ((timedelta(days=84), timedelta(days=28)), (timedelta(days=14), timedelta(days=7)))
"""(a span of at least, is told in periods of); shorter ones in days."""
WEEK = 7
"""Days that a point of the timeline is the sum of."""

Report = dict[str, Any]
Progress = Callable[[str, str], None]
"""Told the policy and how far it is."""


@dataclass(frozen=True, slots=True)
class Question:
    """The span, the time within which alarms and losses belong together, and whether to act."""

    span: Window
    within: timedelta = WITHIN
    act: bool = False


def lab(model: Model, loaded: Loaded, *, policies: Sequence[str], out: Path | None,
        as_json: bool, alone: bool, **asked: Any) -> None:
    """Print, and write where asked, what each policy would have brought to the model."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if out is not None:
        out = out if alone else out / model.name
        comparison.place(out)
    question = Question(Window(*asked["span"]), asked["within"], asked["act"])
    found = variants(policies, model)
    console = Console(stderr=True, highlight=False)
    with _bar(console) as bar:
        task, begun = bar.add_task("", total=None), set[str]()

        def progress(policy: str, words: str) -> None:
            bar.update(task, description=f"{policy}: {words}")
            if question.act and not console.is_terminal and policy not in begun:
                console.print(f"{policy}: {words}")  # what takes minutes should not be silent
            begun.add(policy)

        if question.act and (line := left_out(model)):
            console.print(f"{model.name}: {line}")
        reports = compare(model, loaded, found, question, progress)
    if as_json:
        for report in reports:
            click.echo(json.dumps(report))
    else:
        click.echo(comparison.text(reports, min(max(console.width, 80), 100)))
    if out is not None:
        for path in comparison.write(reports, out):
            click.echo(f"wrote {path}", err=True)


def _bar(console: Console) -> Bar:
    return Bar(TextColumn("{task.description}"), TimeElapsedColumn(), console=console,
               transient=True, disable=not console.is_terminal)


def compare(model: Model, loaded: Loaded, policies: Sequence[Variant], question: Question,
            progress: Progress) -> list[Report]:
    """One report per policy, in their order; everything else that was made is gone again."""
    question = _after_reference(model, question)
    with tempfile.TemporaryDirectory(prefix="holdfast-lab-") as name:
        folder, trials = Path(name), []
        begun, why = _opened(model, loaded, policies, question, folder, progress)
        if begun is not None:
            for place, item in enumerate(policies):
                trials.append(trial(item, begun, folder / f"policy-{place}",
                                    partial(progress, item.name)))
            baseline, minutes = begun.baseline, begun.minutes
        else:
            held = past(model, loaded, folder, question.span)
            for place, item in enumerate(policies):
                trials.append(watched(item, held, folder / f"policy-{place}",
                                      partial(progress, item.name)))
            baseline, minutes = held.first, 0.0
        rule = rule_of(model, baseline)
        return [_report(item, found, rule, question, opening={"why": why, "minutes": minutes})
                for item, found in zip(policies, trials, strict=True)]


def _opened(model: Model, loaded: Loaded, policies: Sequence[Variant], question: Question,
            folder: Path, progress: Progress) -> tuple[Opening | None, str]:
    """What policies start from where they are to act; else why they do not."""
    if not question.act:
        return None, "the logged answers; --act trains, promotes and rescores every row"
    trained = [item.model.training for item in policies if item.model.training.kind != "none"]
    if not trained:
        return None, "the logged answers, as training.kind is none: nothing can be trained"
    if model.training.kind == "none":
        model = model.model_copy(update={"training": trained[0]})
    try:
        return opening(model, loaded, folder / "opening", question.span,
                       partial(progress, "all")), ""
    except HoldfastError as error:
        return None, f"the logged answers, as no first champion could be trained: {error}"


def _after_reference(model: Model, question: Question) -> Question:
    """The span without the reference period, which everything is held against."""
    if question.within <= timedelta(0):
        raise ConfigError(["--within: 0s; right would be a length of time, such as 30d"])
    span, reference = question.span, model.reference.window
    if span.start >= span.end:
        raise ConfigError([f"--from: {isoformat(span.start)} is not before --to, "
                           f"{isoformat(span.end)}; right would be an earlier --from"])
    if reference is None or span.start >= reference.end:
        return question
    if span.end <= reference.end:
        raise ConfigError([f"--to: {isoformat(span.end)} is not after the end of the reference, "
                           f"{isoformat(reference.end)}; right would be a later --to"])
    return replace(question, span=Window(reference.end, span.end))


def rule_of(model: Model, baseline: Baseline) -> Rule:
    """What counts as a loss, the same for every policy: the configured rule over what the first
    champion promised."""
    level, positive = baseline.interval_level, model.log.positive_label
    promised = measure(baseline.performance, model.metric, positive=positive, level=level,
                       block=max(model.calendar.pane, DAY))
    rule = model.policy.performance
    return Rule(model.metric, promised, rule.drop, rule.rows, positive, level)


def _report(variant: Variant, found: Trial, rule: Rule, question: Question, *,
            opening: dict[str, Any]) -> Report:
    span, course, acted = question.span, found.course, not opening["why"]
    lost = losses(found.served, rule)
    retrains = [*(item.at for item in course.retrains), *(at for at, _ in course.asked)]
    judged = noticed(lost, course.alarms, retrains, within=question.within, until=span.end)
    blamed = {version: losses(days, rule) for version, days in found.versions.items()}
    worths = [worth(item, [*lost, *blamed.get(item.version, ())], within=question.within,
                    until=span.end)
              if _measured(found.served, rule) else "undecided" for item in course.alarms]
    whole = rule.measure(total(found.served.values()))
    report = {
        "model": variant.model.name, "policy": variant.name, "words": variant.words,
        "changed": list(variant.changed), "acted": acted, "seen": opening["why"],
        "from": span.start, "to": span.end, "within": format_duration(question.within),
        "metric": rule.metric, "more_is_better": rule.metric in HIGHER_IS_BETTER,
        "drop": rule.drop, "reference": _told(rule.reference), "performance": _told(whole),
        "periods": _periods(found.served, rule, span),
        "windows": course.windows,
        "alarms": [asdict(item) | {"worth": value}
                   for item, value in zip(course.alarms, worths, strict=True)],
        "alarmed": alarmed(course.alarms, span.start, span.end),
        "degradations": [asdict(item.loss) | {"fate": item.fate, "noticed": item.at,
                                              "by": item.by, "delay_days": _days(item.delay)}
                         for item in judged],
        "retrains": [asdict(item) for item in course.retrains],
        "asked": [{"at": at, "why": why} for at, why in course.asked],
        "moves": [asdict(item) for item in course.moves],
        "timeline": _timeline(found.served, rule),
    }
    report["sums"] = _sums(report, course.retrains, opening["minutes"], course.comparison_minutes)
    told: Report = plain(report)
    return told


def _measured(days: Days, rule: Rule) -> bool:
    return bool(days) and rule.reference.value is not None


def _sums(report: Report, retrains: Sequence[Retrain], first: float, comparisons: float
          ) -> dict[str, Any]:
    """What the table shows; costs are those of this policy alone, the first champion's aside."""
    fates = [item["fate"] for item in report["degradations"]]
    worths = [item["worth"] for item in report["alarms"]]
    delays = [item["delay_days"] for item in report["degradations"]
              if item["delay_days"] is not None]
    ended = [item.ended for item in retrains]
    kinds = [item["kind"] for item in report["moves"]]
    return {
        "alarms": len(worths), "false_alarms": worths.count("false"),
        "undecided_alarms": worths.count("undecided"),
        "degradations": len(fates), "missed": fates.count("missed"),
        "undecided": fates.count("undecided"),
        "median_delay_days": statistics.median(delays) if delays else None,
        "asked": len(report["asked"]),
        "trainings": len(retrains), "fitted": sum(item.fitted for item in retrains),
        "registered": ended.count("registered"), "recalls": ended.count("recalled"),
        "refusals": ended.count("refused"), "failures": ended.count("failed"),
        "promotions": kinds.count("promotion"), "rollbacks": kinds.count("rollback"),
        "training_minutes": sum(item.minutes for item in retrains),
        "comparison_minutes": comparisons, "first_champion_minutes": first,
        "labelled_rows_used": sum(item.rows for item in retrains),
    }


def _told(found: Performance) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n,
            "reason": found.reason}


def _days(span: timedelta | None) -> float | None:
    return None if span is None else round(span / DAY, 3)


def _periods(days: Days, rule: Rule, span: Window) -> list[dict[str, Any]]:
    """The metric per period of the span, the last one as short as it is."""
    length = next((period for least, period in PERIODS if span.length >= least), DAY)
    found, start = [], span.start
    while start < span.end:
        end = min(start + length, span.end)
        part = total(outcomes for day, outcomes in days.items() if start <= day < end)
        found.append({"from": start, "to": end, "n": part.n, "value": rule.measure(part).value})
        start = end
    return found


def _timeline(days: Days, rule: Rule) -> list[tuple[datetime, float]]:
    """(day, the metric of the week that ends with it), where a week holds enough rows."""
    starts = sorted(days)
    found = []
    for place in range(WEEK - 1, len(starts)):
        value = rule.measure(total(days[day] for day in starts[place - WEEK + 1 : place + 1])
                             ).value
        if value is not None:
            found.append((starts[place], value))
    return found
