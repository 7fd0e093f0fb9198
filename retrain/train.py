"""Train: rows -> candidate -> gate -> a registered challenger (or first champion)."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from monitor.baseline import Baseline
from monitor.errors import ConflictError, ContractError, HoldfastError
from monitor.registry import CHALLENGER, CHAMPION, Outcome, Version
from monitor.report import Reporter, Subject
from monitor.window import Window, isoformat
from retrain import register
from retrain.baseline import own
from retrain.card import card
from retrain.contract import Contract, class_values, default
from retrain.dataset import LEAST, Dataset, Refusal, assemble, conform, usable
from retrain.evaluate import Scores, answer, logged, score, session
from retrain.gate import choose, gate
from retrain.importance import permuted
from retrain.points import Point, fit, metrics, points
from retrain.recall import best_again, same_contract
from retrain.rivals import Rival, contract_of, rival
from retrain.trainer import Fitted, Split
from retrain.trainers import trainer
from retrain.work import Work


@dataclass(frozen=True, slots=True)
class Contest:
    """Who meets on the holdout: the contract to keep, the champion and the earlier versions."""

    contract: Contract
    champion: Rival | None
    predecessors: tuple[Rival, ...]

    @property
    def everyone(self) -> list[Rival]:
        return [*([self.champion] if self.champion else []), *self.predecessors]


def train(work: Work) -> Outcome:
    """Registers a challenger that passed the gate, or records why there is none."""
    work.steps.next(f"rows of {work.model.name!r} as known at {isoformat(work.request.known_at)}")
    data = assemble(work.request, work.model, work.config.limits)
    work.steps.note(f"{data.rows} labelled rows of {data.window}")
    contest = _contest(work, data)
    raw = _comparable(work, data.split, contest)
    split = Split(*(conform(part, contest.contract)
                    for part in (raw.train, raw.validation, raw.holdout)))
    _describe(work, data, split, contest)
    fitted = fit(work, split, contest.contract, [item.version for item in contest.everyone])
    found = points(work, fitted, split, contest.contract)
    name, why = _choice(work, found)
    chosen = found[name]
    result, scores, meeting = _gated(work, contest, chosen, raw=raw, holdout=split.holdout)
    result |= _summary(work, data, split, contest=contest) | {
        "point": name, "choice": why,
        "points": {name: plain(point.scores, work.model.metric) for name, point in found.items()}}
    work.record.json("evaluation.json", result)
    work.record.text("card.md", card(result))
    if not result["passed"]:
        again = best_again(contest.champion, contest.predecessors, meeting,
                           metric=work.model.metric, gain=work.model.training.minimum_gain)
        if again is None or not same_contract(again.rival.contract, contest.contract):
            return work.record.conclude("refused", result["reason"], result=result)
        _point_alias(work, again.rival.version, CHALLENGER)
        return work.record.conclude("registered", f"{again.reason} {result['reason']}",
                                    version=again.rival.version.version, result=result)
    work.steps.next("baseline of the candidate's own rows")
    baseline = _baseline(work, data, contest, chosen=chosen, scores=scores)
    return _registered(work, contest, chosen, whole=found["fp32"].fitted, baseline=baseline,
                       result=result, tried=split.holdout.head(64))


def _choice(work: Work, found: dict[str, Point]) -> tuple[str, str]:
    """The point to go on with and why; measured times differ, so a choice once made stays."""
    work.steps.next("choose on validation")
    tags = work.record.tags()
    if tags.get("holdfast.point") in found:
        return tags["holdfast.point"], tags.get("holdfast.choice", "")
    choice = choose([point.scores for point in found.values()], reference=found["fp32"].scores,
                    metric=work.model.metric, budget=work.model.training.accuracy_budget)
    work.steps.note(choice.reason)
    work.record.tag("holdfast.choice", choice.reason)
    work.record.tag("holdfast.point", choice.scores.name)
    return choice.scores.name, choice.reason


def _contest(work: Work, data: Dataset) -> Contest:
    """The contract to keep and everybody to beat; ``Refusal`` where the champion is unknown."""
    whole = pd.concat([data.split.train, data.split.validation, data.split.holdout])
    classes = () if work.model.task == "regression" else class_values(whole["_label"])
    hashed = work.model.privacy.hash
    if work.request.kind == "bootstrap":
        _first(work)
        readable = whole.drop(columns=hashed, errors="ignore")
        contract = default(readable, work.model.task, classes=classes,
                           positive=work.model.log.positive_label)
        return Contest(contract, None, ())
    number = work.request.champion
    version = None if number is None else work.registry.version(work.model.registered, number)
    if version is None:
        raise Refusal(f"champion version {number} of {work.model.registered!r} is not registered; "
                      "right would be a request of kind bootstrap")
    contract = contract_of(version, work.registry, model=work.model, classes=classes)
    if unreadable := sorted(set(contract.inputs) & set(hashed)):
        raise Refusal(f"version {number} takes {', '.join(unreadable)}, which privacy.hash hides: "
                      "a model trained on hashes cannot be served raw values; right would be a "
                      "champion that does not take them, or training: {kind: none}")
    numbers = [number, *(item for item in work.request.predecessors if item != number)]
    found = [rival(str(item), work.registry, model=work.model, classes=classes,
                   folder=work.folder / "versions") for item in numbers]
    return Contest(contract, found[0], tuple(item for item in found[1:] if item is not None))


def _first(work: Work) -> None:
    """``Refusal`` where somebody else's version is the champion already."""
    registered = work.model.registered
    standing = work.registry.champion(registered)
    ours = work.request.request_id
    if standing is not None and standing.tags.get("holdfast.request_id") != ours:
        raise Refusal(f"{registered!r} has a champion, version {standing.version}; right would be "
                      "a request of kind train")


def _comparable(work: Work, split: Split, contest: Contest) -> Split:
    """The rows that all can be asked about; a champion that cannot run is asked through the log."""
    contracts = [contest.contract, *(item.contract for item in contest.everyone if item.contract)]
    train, validation, holdout = (usable(part, contracts)
                                  for part in (split.train, split.validation, split.holdout))
    champion = contest.champion
    if champion is not None and not champion.runnable:
        if "_prediction" not in holdout:
            raise Refusal(f"{champion.name} cannot be run ({champion.why}) and the log holds no "
                          "predictions of it; right would be log.prediction")
        answered = holdout["_prediction"].notna()
        if "_version" in holdout:
            answered &= holdout["_version"] == champion.version.version
        holdout = holdout[answered].reset_index(drop=True)
        if len(holdout) < LEAST["holdout"]:
            raise Refusal(f"{champion.name} cannot be run ({champion.why}) and answered only "
                          f"{len(holdout)} labelled rows of the holdout, {LEAST['holdout']} are "
                          "needed to compare with it")
    return Split(train, validation, holdout)


def _gated(work: Work, contest: Contest, chosen: Point, *, raw: Split,
           holdout: pd.DataFrame) -> tuple[dict[str, Any], Scores, dict[str, Scores]]:
    """Everybody on the newest holdout, opened here and nowhere else, and the gate's word.

    The result for the record, the candidate's scores, and those of the versions by name.
    """
    work.steps.next(f"gate: {len(holdout)} newest rows against {len(contest.everyone)} versions")
    model = work.model
    candidate = score("candidate", answer(session(chosen.artifact), holdout, contest.contract),
                      holdout, contract=contest.contract, metrics=metrics(model))
    not_run: dict[str, str] = {}
    others: dict[str, Scores] = {}
    for item in contest.everyone:
        try:
            others[item.name] = _asked(work, item, raw.holdout, champion=item is contest.champion)
        except HoldfastError as error:
            not_run[item.name] = str(error)
    champion = contest.champion
    if champion is not None and champion.name not in others:
        raise Refusal(f"the champion cannot be compared with: {not_run[champion.name]}")
    first = others.pop(champion.name) if champion else None
    verdict = gate(candidate, first, list(others.values()), metric=model.metric,
                   gain=model.training.minimum_gain)
    work.steps.note(verdict.reason)
    everyone = [candidate, *([first] if first else []), *others.values()]
    result = {"passed": verdict.passed, "reason": verdict.reason, "gate": list(verdict.table),
            "holdout": {item.name: plain(item, model.metric) for item in everyone},
            "not_run": not_run}
    return result, candidate, {item.name: item for item in everyone[1:]}


def _asked(work: Work, item: Rival, holdout: pd.DataFrame, *, champion: bool) -> Scores:
    """One version on the holdout: by its ONNX file, the champion's else by its logged answers."""
    if item.runnable and item.artifact is not None and item.contract is not None:
        frame = conform(holdout, item.contract)
        answers, contract = answer(session(item.artifact), frame, item.contract), item.contract
    elif champion and item.contract is not None:
        frame, contract = holdout, item.contract
        answers = logged(frame, contract)
    else:
        raise Refusal(item.why)
    return score(item.name, answers, frame, contract=contract, metrics=metrics(work.model))


def _describe(work: Work, data: Dataset, split: Split, contest: Contest) -> None:
    """Everything that makes the run repeatable, as parameters and artifacts."""
    training = work.model.training
    work.record.params({
        "kind": work.request.kind, "known_at": isoformat(work.request.known_at),
        "reason": work.request.reason, "champion": work.request.champion,
        "predecessors": ",".join(work.request.predecessors),
        "window_start": isoformat(data.window.start), "window_end": isoformat(data.window.end),
        "content_hash": data.content_hash, "train_rows": len(split.train),
        "validation_rows": len(split.validation), "holdout_rows": len(split.holdout),
        **{f"training.{name}": value for name, value in training.model_dump(mode="json").items()}})
    work.record.json("contract.json", contest.contract.to_dict())
    for item in contest.everyone:
        if not item.runnable:
            work.steps.note(f"{item.name} cannot be run: {item.why}")


def _summary(work: Work, data: Dataset, split: Split, *, contest: Contest) -> dict[str, Any]:
    request = work.request
    return {
        "model": work.model.name, "request_id": request.request_id, "asked": request.reason,
        "parent": f"version {request.champion}" if contest.champion else None,
        "known_at": isoformat(request.known_at), "metric": work.model.metric,
        "window": [isoformat(data.window.start), isoformat(data.window.end)],
        "content_hash": data.content_hash,
        "rows": {"train": len(split.train), "validation": len(split.validation),
                 "holdout": len(split.holdout)}}


def _baseline(work: Work, data: Dataset, contest: Contest, *, chosen: Point,
              scores: Scores) -> Baseline:
    """The candidate's own baseline over all its rows; its performance is that of the holdout."""
    whole = usable(pd.concat([data.split.train, data.split.validation, data.split.holdout],
                             ignore_index=True), [contest.contract])
    artifact = session(chosen.artifact)
    answers = answer(artifact, conform(whole, contest.contract), contest.contract)
    made = own(work.model, work.config.limits, whole, answers=answers, span=data.window,
               outcomes=scores.outcomes, folder=work.folder,
               unseen=data.split.validation["_timestamp"].min().to_pydatetime())
    holdout = conform(usable(data.split.holdout, [contest.contract]), contest.contract)
    return replace(made, importance=permuted(artifact, holdout, contest.contract,
                                             metric=work.model.metric))


def _registered(work: Work, contest: Contest, chosen: Point, *, whole: Fitted,
                baseline: Baseline, result: dict[str, Any], tried: pd.DataFrame) -> Outcome:
    """The candidate as a version with its alias, or ``ContractError`` before it is one.

    ``whole`` is the network before compression: the next fine-tuning goes on from it.
    """
    record, request, model = work.record, work.request, work.model
    work.steps.next("log the artifact and try to serve it")
    record.text("baseline.json", baseline.to_json())
    made = trainer(model.training.kind)
    record.file(made.save(whole, work.folder / made.file), made.file)
    _report(work, result)
    candidate = register.Candidate(
        chosen.artifact, contest.contract, register.example(baseline.bins, contest.contract),
        card(result), {"holdfast.model": model.name, "holdfast.parent": request.champion or "",
                       "holdfast.compression": result["point"]})
    model_id = register.log(record, candidate)
    register.serves(f"models:/{model_id}", contest.contract, tried)
    alias = CHAMPION if request.kind == "bootstrap" else CHALLENGER
    work.steps.next(f"register in {model.registered!r} as {alias}")
    signal.setitimer(signal.ITIMER_REAL, 0)  # from here on the deadline would only do harm
    version = register.register(record, candidate, model_id, registered=model.registered)
    record.text("baseline.json", replace(baseline, version=version.version).to_json())
    record.metrics(_finals(result, model.metric), model_id)
    _point_alias(work, version, alias)
    work.steps.note(f"version {version.version}")
    return record.conclude("registered", result["reason"], version=version.version, result=result)


def _point_alias(work: Work, version: Version, alias: str) -> None:
    """Point the alias at the version; a champion that somebody set meanwhile stays."""
    registry, registered = work.registry, work.model.registered
    for _ in range(5):
        current = registry.aliases(registered).get(alias)
        if alias == CHAMPION and current not in {None, version.version}:
            raise ContractError(f"{registered!r} has a champion already, version {current}; "
                                f"version {version.version} stays without an alias")
        if registry.move_alias(registered, alias, to=version.version, expected=current):
            return
    raise ConflictError(f"alias {alias!r} of {registered!r} is moved by somebody else all the time")


def _report(work: Work, result: dict[str, Any]) -> None:
    """Evidently's report of the holdout against the older rows; a job goes on without it.

    ``options: {report: false}`` leaves it out.
    """
    if work.request.options.get("report") is False:
        return
    if work.request.kind == "bootstrap" and work.model.reference.source is not None:
        return
    start, end = (pd.Timestamp(text).to_pydatetime() for text in result["window"])
    opened = end - min(work.model.training.holdout, (end - start) / 2)
    subject = Subject(work.model.name, Window(opened, end), work.request.known_at,
                      heading=result["reason"], reference=Window(start, opened))
    try:
        path = Reporter(work.registry, work.request.config, rows=2000).write(subject, work.folder)
        work.record.file(path, f"reports/{path.name}")
    except HoldfastError as error:
        work.steps.note(f"no report: {error}")


def _finals(result: dict[str, Any], metric: str) -> dict[str, float]:
    """What the run shows of the candidate in MLflow's tables."""
    point = result["points"][result["point"]]
    values = {f"holdout_{metric}": result["holdout"]["candidate"]["value"],
              "size_bytes": point["size_bytes"],
              **{f"latency_batch_{batch}_seconds": value
                 for batch, value in point["latency"].items()}}
    return {name: float(value) for name, value in values.items() if value is not None}


def plain(scores: Scores, metric: str) -> dict[str, Any]:
    """Scores as JSON: the deciding metric first, the others beside it."""
    decides = scores.quality[metric]
    return {"value": decides.value, "low": decides.low, "high": decides.high, "n": decides.n,
            "size_bytes": scores.size_bytes,
            "latency": {str(batch): value for batch, value in scores.latency.items()},
            "quality": {name: asdict(item) for name, item in scores.quality.items()}}
