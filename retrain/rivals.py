"""Rivals: the champion and earlier promoted versions, as far as they can still be run.

Only ONNX is run; whatever else a version is made of stays unopened, and then its side of a
comparison is what the log says it answered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.config import Model
from monitor.errors import ContractError, RegistryError
from monitor.registry import FOLDER, Registry, Version
from retrain.contract import Contract, class_text, from_columns


@dataclass(frozen=True, slots=True)
class Rival:
    """One earlier version: its contract, and its ONNX file when it has one.

    ``why`` says why it cannot be run.
    """

    version: Version
    contract: Contract | None
    artifact: Path | None
    why: str = ""

    @property
    def name(self) -> str:
        return f"version {self.version.version}"

    @property
    def runnable(self) -> bool:
        return self.artifact is not None and self.contract is not None


def contract_of(version: Version, registry: Registry, *, model: Model,
                classes: Sequence[Any]) -> Contract:
    """What the version promises those who call it; ``ContractError`` where none can be kept."""
    stored = (registry.artifact(version.run_id, f"{FOLDER}/contract.json")
              if version.trained and version.run_id else None)
    if stored is not None:
        return Contract.from_dict(json.loads(stored))
    who = f"version {version.version} of {version.name!r}"
    if not version.inputs or not version.outputs:
        raise ContractError(f"{who} declares no signature, so that nobody can tell what it takes "
                            "and gives; right would be to log it with a signature")
    if "" in version.outputs:
        raise ContractError(f"{who} returns a bare array without a column name, and an ONNX "
                            "version always returns named columns; those who call it would break; "
                            "right would be a champion whose outputs are named")
    try:
        return from_columns(model.task, inputs=version.inputs, outputs=version.outputs,
                            classes=classes, positive=model.log.positive_label)
    except ContractError as error:
        raise ContractError(f"{who}: {error}") from error


def rival(number: str, registry: Registry, *, model: Model, classes: Sequence[Any],
          folder: Path) -> Rival | None:
    """One version with its ONNX file downloaded to ``folder``; None when it is gone."""
    version = registry.version(model.registered, number)
    if version is None:
        return None
    try:
        contract = contract_of(version, registry, model=model, classes=classes)
        place = folder / number
        place.mkdir(parents=True, exist_ok=True)
        artifact = registry.onnx(model.registered, number, place)
    except (ContractError, RegistryError) as error:
        return Rival(version, None, None, str(error))
    return Rival(version, contract, artifact, "" if artifact else "it is not an ONNX model")


def same_answers(ours: Contract, theirs: Contract) -> bool:
    """Whether both speak of the same classes in the same order."""
    return [class_text(value) for value in ours.classes] == [class_text(value)
                                                             for value in theirs.classes]
