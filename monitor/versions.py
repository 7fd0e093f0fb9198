"""Versions: what a registry tells of a version, of its signature, and of a request's outcome."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import yaml

Status = Literal["running", "registered", "refused", "failed", "done"]


@dataclass(frozen=True, slots=True)
class Signature:
    """Columns that a model takes and gives, with MLflow's names of their types.

    An output without a name (a bare array) is called ''. Empty: the model declares none. ``size``
    is that of all its files in bytes; None where MLflow did not note it.
    """

    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version; ``inputs`` and ``outputs`` are empty where none are declared."""

    name: str
    version: str
    run_id: str
    tags: dict[str, str] = field(hash=False)
    created: datetime
    inputs: dict[str, str] = field(default_factory=dict, hash=False)
    outputs: dict[str, str] = field(default_factory=dict, hash=False)
    size: int | None = field(default=None, hash=False)

    @property
    def trained(self) -> bool:
        """Whether holdfast made it, so that its weights and baseline lie in its run."""
        return "holdfast.request_id" in self.tags

    @property
    def blend(self) -> bool:
        """Whether it is several models that answer together."""
        return self.tags.get("holdfast.rung") == "blend"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request; ``result`` is the run's ``holdfast/result.json``."""

    request_id: str
    status: Status
    version: str | None
    reason: str
    run_id: str
    result: dict[str, Any] = field(default_factory=dict)


def read_signature(text: str) -> Signature:
    """What an ``MLmodel`` file declares."""
    told = yaml.safe_load(text) or {}
    declared, size = told.get("signature") or {}, told.get("model_size_bytes")
    return Signature(_columns(declared.get("inputs")), _columns(declared.get("outputs")),
                     size if isinstance(size, int) else None)


def _columns(text: str | None) -> dict[str, str]:
    """Name -> type; a tensor's type is written as ``tensor(float64)``."""
    columns = {}
    for spec in json.loads(text) if text else []:
        kind = spec.get("type", "")
        if kind == "tensor":
            kind = f"tensor({spec['tensor-spec']['dtype']})"
        columns[spec.get("name") or ""] = kind
    return columns
