"""Score: versions on rows, side by side: a comparison for probation, or rows served in bulk."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from monitor.errors import ContractError
from monitor.registry import Outcome
from monitor.request import Request
from monitor.source import Source
from monitor.window import Window, isoformat, parse_time
from retrain import checks
from retrain.audit import audit
from retrain.blocks import Paired
from retrain.contract import Contract, class_values
from retrain.dataset import Refusal, conform, ordered, usable
from retrain.evaluate import Scores, answer, compare, logged, session
from retrain.evaluate import score as scored
from retrain.fidelity import fidelity
from retrain.onnx_serving import Served
from retrain.rivals import Rival, rival
from retrain.shadow import shadow
from retrain.work import Work

ROWS = 20_000
"""Most labelled rows that a comparison takes."""


def score(work: Work) -> Outcome:
    """Compare champion and predecessor, serve the rows of ``options['serve']``, or do what
    ``options['purpose']`` names."""
    options = work.request.options
    if work.request.purpose:
        known = {"shadow": shadow, "compression": fidelity, "audit": audit}
        return known[work.request.purpose](work)
    return _served(work, options["serve"]) if "serve" in options else _compared(work)


def _served(work: Work, order: dict[str, Any]) -> Outcome:
    """Answers of versions to the raw rows of a Parquet file: one line per row and version.

    Columns: ``_row``, ``_version``, ``prediction``, ``score`` (of the positive class), and the
    version's own output columns.
    """
    numbers = [str(item) for item in order.get("versions") or [order["version"]]]
    work.steps.next(f"serve {order['rows']} by {', '.join(numbers)}")
    rows = pd.read_parquet(order["rows"])
    parts = []
    for number in numbers:
        item = rival(number, work.registry, model=work.model, classes=(),
                     folder=work.folder / "versions")
        if item is None or item.contract is None or item.artifact is None:
            raise Refusal(f"version {number} is not served: {item.why if item else 'it is gone'}")
        parts.append(_answers(rows, item.contract, Served(str(item.artifact)), number))
    out = Path(order["out"])
    draft = out.with_name(f".{out.name}.draft")
    pd.concat(parts, ignore_index=True).to_parquet(draft)
    draft.replace(out)
    return work.record.conclude("done", f"{len(rows)} rows served",
                                result={"rows": len(rows), "versions": numbers})


def _answers(rows: pd.DataFrame, contract: Contract, served: Served, number: str) -> pd.DataFrame:
    raw = served.predict(conform(rows, contract)).reset_index(drop=True)
    found = pd.DataFrame({"_row": range(len(rows)), "_version": number})
    if contract.prediction is not None:
        found["prediction"] = raw[contract.prediction]
    for name, value in contract.probabilities.items():
        if value == contract.positive:
            found["score"] = raw[name]
    return pd.concat([found, raw.drop(columns=found.columns, errors="ignore")], axis=1)


def _compared(work: Work) -> Outcome:
    """How much better the predecessor would have been on the champion's rows."""
    request, model = work.request, work.model
    work.steps.next(f"rows of {model.name!r} as known at {isoformat(request.known_at)}")
    number, other = request.champion, str(request.options.get(
        "predecessor", request.evidence.get("predecessor") or (request.predecessors or ("",))[0]))
    if number is None or not other:
        raise Refusal("a comparison needs a champion and a predecessor")
    window = _window(work)
    versions = [number] if model.log.model_version else None
    with Source(model, work.config.limits) as source:
        frame = source.sample(window, known_by=request.known_at, limit=ROWS, labelled=True,
                              versions=versions)
    frame = sound(ordered(frame), request)
    if not len(frame):
        raise Refusal(f"no labelled row of version {number} in {window}")
    work.steps.next(f"version {number} against version {other} on {len(frame)} rows")
    classes = () if model.task == "regression" else class_values(frame["_label"])
    pair = [rival(item, work.registry, model=model, classes=classes,
                  folder=work.folder / "versions") for item in (number, other)]
    frame = usable(frame, [item.contract for item in pair if item and item.contract])
    champion, predecessor = (_asked(work, item, frame, served=index == 0)
                             for index, item in enumerate(pair))
    metric = checks.usable(champion, predecessor, model.metric)
    found = compare(champion, predecessor, metric)
    reason = (f"on the same {found.n} rows of {window} version {other} "
              f"{words(found, metric, number)}")
    work.steps.next(reason)
    return work.record.conclude("done", reason, result={
        "difference": checks.known(found.difference), "low": checks.known(found.low),
        "high": checks.known(found.high), "n": found.n,
        "blocks": found.blocks, "metric": metric, "reason": reason, "champion": number,
        "predecessor": other, "window": [isoformat(window.start), isoformat(window.end)],
        "values": {item.name: item.quality[metric].value
                   for item in (champion, predecessor)}})


def words(found: Paired, metric: str, champion: str) -> str:
    """How the predecessor would have done beside the champion; such as ``roc_auc`` says nothing
    where all labels are the same."""
    if not math.isfinite(found.difference):
        return f"cannot be held against version {champion}: {metric} is undefined on them"
    return (f"would have been {'better' if found.difference > 0 else 'worse'} by "
            f"{abs(found.difference):.4f} {metric} than version {champion} (95 % interval of the "
            f"gain {found.low:.4f} to {found.high:.4f}, {found.blocks} time blocks)")


def sound(frame: pd.DataFrame, request: Request) -> pd.DataFrame:
    """The rows outside the stretches whose data is broken: they say nothing about a model."""
    for start, end in request.exclude:
        times = frame["_timestamp"]
        frame = frame[(times < parse_time(start)) | (times >= parse_time(end))]
    return frame.reset_index(drop=True)


def _window(work: Work) -> Window:
    """The asked window, or the time since the champion was promoted."""
    request, asked = work.request, work.request.options.get("window")
    if asked is not None:
        return Window(parse_time(asked[0]), parse_time(asked[1]))
    start: datetime | None = None
    version = work.registry.version(work.model.registered, request.champion or "")
    if version is not None and "holdfast.promoted_at" in version.tags:
        start = work.model.calendar.pane_of(parse_time(version.tags["holdfast.promoted_at"]))
    if start is None or start >= request.known_at:
        start = (request.known_at - work.model.policy.probation.length
                 - work.model.maturity.delay)
    return Window(start, request.known_at)


def _asked(work: Work, item: Rival | None, frame: pd.DataFrame, *, served: bool) -> Scores:
    """One version on the rows: as logged when it served them, else by its ONNX file."""
    if item is None or item.contract is None:
        raise Refusal(item.why if item else "a version to compare with is gone from the registry")
    if served and "_prediction" in frame and (work.model.log.model_version or not item.runnable):
        answers, rows = logged(frame, item.contract), frame
    elif item.artifact is not None:
        rows = conform(frame, item.contract)
        answers = answer(session(item.artifact), rows, item.contract)
    else:
        raise ContractError(f"{item.name} cannot be run: {item.why}")
    asked = (work.model.metric,) if item.contract.task == "regression" else tuple(
        dict.fromkeys((work.model.metric, "accuracy")))  # where no score is logged
    return scored(item.name, answers, rows, contract=item.contract, metrics=asked)
