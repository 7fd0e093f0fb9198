"""Challenger: the candidate that passed, as a registered version with its alias and baseline."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pandas as pd

from monitor.baseline import Baseline
from monitor.errors import ConflictError, ContractError, HoldfastError
from monitor.registry import CHALLENGER, CHAMPION, FOLDER, Outcome, Version
from monitor.report import Reporter, Subject
from monitor.secrets import redact
from monitor.window import Window, isoformat
from retrain import exhibit, register
from retrain.baseline import own
from retrain.card import PICTURE, Place, described
from retrain.contest import Contest
from retrain.dataset import Dataset, conform, usable
from retrain.evaluate import Scores, answer, session
from retrain.importance import permuted
from retrain.players import LEARNED, PARENT, UNCOMPRESSED
from retrain.proposal import Proposal
from retrain.story import finals
from retrain.trainers import trainer
from retrain.work import Work


def again(work: Work, found: Contest, name: str, result: dict[str, Any]) -> Outcome:
    """The earlier version as challenger; nothing new is registered."""
    version = next(item.version for item in found.predecessors if item.name == name)
    work.registry.tag_version(version.name, version.version,
                              _told(work) | {"holdfast.again": result["reason"]})
    _point_alias(work, version, CHALLENGER)
    return work.record.conclude("registered", result["reason"], version=version.version,
                                result=result)


def brought(work: Work, data: Dataset, found: Contest, proposal: Proposal,
            *, scores: Scores) -> Baseline:
    """The candidate's own baseline over all its rows; its performance is that of the holdout."""
    whole = usable(data.whole, [found.contract])
    artifact = session(proposal.artifact)
    answers = answer(artifact, conform(whole, found.contract), found.contract)
    made = own(work.model, work.config.limits, whole, answers=answers, span=data.window,
               outcomes=scores.outcomes, folder=work.folder,
               unseen=data.split.validation["_timestamp"].min().to_pydatetime())
    holdout = conform(usable(data.split.holdout, [found.contract]), found.contract)
    return replace(made, importance=permuted(artifact, holdout, found.contract,
                                             metric=work.model.metric))


def registered(work: Work, found: Contest, proposal: Proposal, *, baseline: Baseline,
               result: dict[str, Any], tried: pd.DataFrame) -> Outcome:
    """The candidate as a version with its alias, or ``ContractError`` before it is one.

    The weights before compression are kept, for the next fine-tuning, and the artifacts before
    units were removed and before it was quantized, to be compared with.
    """
    record, request, model = work.record, work.request, work.model
    work.steps.next("log the artifact and try to serve it")
    record.exact("baseline.json", baseline.to_json())
    made = trainer(model.training.kind)
    if proposal.fitted is not None:
        record.file(made.save(proposal.fitted, work.folder / made.file), made.file)
    for path, name in ((proposal.parent, PARENT), (proposal.whole, UNCOMPRESSED)):
        if path is not None:
            record.file(path, name)
    record.binary(PICTURE.rpartition("/")[2], exhibit.draw(result))
    place = Place(record.experiment, record.run_id, page(work), _report(work, result))
    candidate = register.Candidate(
        proposal.artifact, found.contract, register.example(baseline.bins, found.contract),
        described(result, place, decide=_decide(work)),
        {"holdfast.model": model.name, "holdfast.parent": request.champion or "",
         "holdfast.compression": result["point"], "holdfast.rung": proposal.rung,
         **_told(work), **_learned(proposal, found, baseline)})
    model_id = register.log(record, candidate)
    register.serves(f"models:/{model_id}", found.contract, tried)
    alias = CHAMPION if request.kind == "bootstrap" else CHALLENGER
    work.steps.next(f"register in {model.registered!r} as {alias}")
    signal.setitimer(signal.ITIMER_REAL, 0)  # from here on the deadline would only do harm
    version = register.register(record, candidate, model_id, registered=model.registered)
    record.exact("baseline.json", replace(baseline, version=version.version).to_json())
    record.metrics(finals(result, model.metric), model_id)
    _point_alias(work, version, alias)
    work.steps.note(f"version {version.version}")
    return record.conclude("registered", result["reason"], version=version.version, result=result)


def page(work: Work) -> str:
    """Where people find the model's page of holdfast; '' where nobody said."""
    base = work.config.http.url
    return f"{base.rstrip('/')}/models/{quote(work.model.name, safe='')}" if base else ""


def _told(work: Work) -> dict[str, str]:
    """Tags of a challenger that lead back to holdfast: why it is there, and where to read on."""
    told = {"holdfast.asked": redact(work.request.reason)[:5000], "holdfast.page": page(work)}
    return {name: value for name, value in told.items() if value}


def _decide(work: Work) -> str:
    """What a person may do about the candidate."""
    if work.request.kind == "bootstrap":
        return ""
    if work.model.policy.promotion == "automatic":
        return "holdfast promotes it by itself; nothing needs to be done."
    return (f"To promote it, add the alias `{CHAMPION}` above; holdfast adopts it at its next tick "
            "and keeps it on probation. To decline, leave it as it is.")


def _learned(proposal: Proposal, found: Contest, baseline: Baseline) -> dict[str, str]:
    """The tag that says how new the rows are that the weights know: the newest of a blend's models,
    and the champion's where only its answers or ranges are new."""
    if proposal.until is not None:
        return {LEARNED: isoformat(proposal.until)}
    if not proposal.trained and found.champion is not None and found.champion.version is not None:
        told = found.champion.version.tags.get(LEARNED)
        return {} if told is None else {LEARNED: told}
    return {} if baseline.window_end is None else {LEARNED: isoformat(baseline.window_end)}


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


def _report(work: Work, result: dict[str, Any]) -> str:
    """Evidently's report of the holdout against the older rows, as an artifact's path; a job goes
    on without it ('').

    ``options: {report: false}`` and ``reports: false`` leave it out.
    """
    if work.request.options.get("report") is False or not work.config.reports:
        return ""
    if work.request.kind == "bootstrap" and work.model.reference.source is not None:
        return ""
    start, end = (pd.Timestamp(text).to_pydatetime() for text in result["window"])
    opened = end - min(work.model.training.holdout, (end - start) / 2)
    subject = Subject(work.model.name, Window(opened, end), work.request.known_at,
                      heading=result["reason"], reference=Window(start, opened))
    try:
        path = Reporter(work.registry, work.request.config, rows=2000).write(subject, work.folder)
        work.record.file(path, f"reports/{path.name}")
        return f"{FOLDER}/reports/{path.name}"
    except HoldfastError as error:
        work.steps.note(f"no report: {error}")
        return ""
