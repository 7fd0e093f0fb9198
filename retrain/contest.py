"""Contest: who meets on the holdout, and the rows that all of them can be asked about."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from retrain.contract import Contract, class_values, default
from retrain.dataset import LEAST, Dataset, Refusal, usable
from retrain.rivals import Rival, contract_of, rival
from retrain.trainer import Split
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


def contest(work: Work, data: Dataset) -> Contest:
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


def comparable(split: Split, found: Contest) -> Split:
    """The rows that all can be asked about; a champion that cannot run is asked through the log."""
    contracts = [found.contract, *(item.contract for item in found.everyone if item.contract)]
    train, validation, holdout = (usable(part, contracts)
                                  for part in (split.train, split.validation, split.holdout))
    champion = found.champion
    if champion is not None and not champion.runnable:
        holdout = _answered(holdout, champion)
        if len(holdout) < LEAST["holdout"]:
            raise Refusal(f"{champion.name} cannot be run ({champion.why}) and answered only "
                          f"{len(holdout)} labelled rows of the holdout, {LEAST['holdout']} are "
                          "needed to compare with it")
    return Split(train, validation, holdout)


def _answered(frame: pd.DataFrame, champion: Rival) -> pd.DataFrame:
    """The rows that the champion answered in the log."""
    if "_prediction" not in frame:
        raise Refusal(f"{champion.name} cannot be run ({champion.why}) and the log holds no "
                      "predictions of it; right would be log.prediction")
    answered = frame["_prediction"].notna()
    if "_version" in frame:
        answered &= frame["_version"] == champion.version.version
    return frame[answered].reset_index(drop=True)
