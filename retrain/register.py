"""Register: an ONNX file becomes a version of the registered model, exactly once.

The version is what ``mlflow.pyfunc.load_model(version).predict(frame)`` serves: the champion's
raw columns in, its named answers out. That is tried before anything is registered.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from monitor.bins import Bins, FeatureBins, NumericBins
from monitor.errors import ContractError
from monitor.registry import Version
from retrain import onnx_serving
from retrain.contract import Contract, class_text
from retrain.record import Record

_KINDS = {"string": "O", "boolean": "b", "integer": "i", "long": "i", "float": "f", "double": "f"}
_WIDTHS = {"integer": 4, "long": 8, "float": 4, "double": 8}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to be registered: the artifact, its contract, and made-up rows that it takes."""

    artifact: Path
    contract: Contract
    example: pd.DataFrame
    description: str
    tags: Mapping[str, str]


def log(record: Record, candidate: Candidate) -> str:
    """The id of the run's MLflow model, logged once; it holds ONNX and no pickle."""
    known = record.tags().get("holdfast.model_id")
    if known is not None:
        return known
    registry = record.registry
    with registry.words(f"model of run {record.run_id}"), \
            tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        logged = _begun(record)
        path = Path(folder) / "model"
        _save(path, candidate, logged=logged, run_id=record.run_id)
        registry.client.log_model_artifacts(logged.model_id, str(path))
        registry.client.finalize_logged_model(logged.model_id, "READY")
    record.tag("holdfast.model_id", logged.model_id)
    return str(logged.model_id)


def _begun(record: Record) -> Any:
    """The request's MLflow model: one that a kill left unfinished, or a new one."""
    client, request_id = record.registry.client, record.request.request_id
    found = client.search_logged_models(
        [record.experiment], f"tags.`holdfast.request_id` = '{request_id}'", max_results=1)
    return found[0] if found else client.create_logged_model(
        record.experiment, name="model", source_run_id=record.run_id,
        tags={"holdfast.request_id": request_id})


def _save(path: Path, candidate: Candidate, *, logged: Any, run_id: str) -> None:
    """The MLflow folder of the artifact, served by the copy of ``onnx_serving`` inside it."""
    import mlflow.onnx
    import onnx
    from mlflow.models import Model

    meta = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id,
                 model_uuid=logged.model_id)
    mlflow.onnx.save_model(
        onnx.load(str(candidate.artifact)), str(path), mlflow_model=meta,
        signature=signature(candidate.contract), input_example=candidate.example,
        save_as_external_data=False, onnx_execution_providers=["CPUExecutionProvider"],
        code_paths=[str(onnx_serving.__file__)],
        pip_requirements=[f"{name}=={installed(name)}"
                          for name in ("onnx", "onnxruntime", "numpy", "pandas")])
    described = yaml.safe_load((path / "MLmodel").read_text("utf-8"))
    described["flavors"]["python_function"]["loader_module"] = "onnx_serving"
    (path / "MLmodel").write_text(yaml.safe_dump(described, sort_keys=False), "utf-8")


def signature(contract: Contract) -> Any:
    """The contract as an MLflow signature; text may be absent, numbers may be NaN."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs, outputs = (Schema([ColSpec(kind, name) for name, kind in columns.items()])
                       for columns in (contract.inputs, contract.outputs))
    return ModelSignature(inputs, outputs)


def serves(uri: str, contract: Contract, frame: pd.DataFrame) -> None:
    """``ContractError`` unless ``uri`` takes the frame and answers as the contract says."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        answers = mlflow.pyfunc.load_model(uri).predict(frame[list(contract.inputs)])
    except (MlflowException, ValueError, RuntimeError) as error:
        raise ContractError(f"the candidate does not take the champion's inputs: "
                            f"{type(error).__name__}; right would be {dict(contract.inputs)}"
                            ) from error
    if not isinstance(answers, pd.DataFrame) or list(answers.columns) != list(contract.outputs):
        raise ContractError("the candidate's outputs are not the champion's "
                            f"{list(contract.outputs)}")
    for name, kind in contract.outputs.items():
        if not _is(answers[name], kind):
            raise ContractError(f"output {name!r} is {answers[name].dtype}, the champion's is "
                                f"{kind}")
    known = {class_text(value) for value in contract.classes}
    if contract.prediction is not None and known:
        strange = {class_text(value) for value in answers[contract.prediction]} - known
        if strange:
            raise ContractError(f"the candidate answers classes that the champion does not know: "
                                f"{sorted(strange)}")


def _is(column: pd.Series[Any], kind: str) -> bool:
    if kind == "string":
        return not pd.api.types.is_numeric_dtype(column)
    return column.dtype.kind == _KINDS[kind] and (
        kind not in _WIDTHS or np.dtype(column.to_numpy().dtype).itemsize == _WIDTHS[kind])


def register(record: Record, candidate: Candidate, model_id: str, *, registered: str) -> Version:
    """The version of this request: the one that carries its tag, or one made with it."""
    registry, request_id = record.registry, record.request.request_id
    found = registry.requested(registered, request_id)
    if found is not None:
        return found
    from mlflow.exceptions import MlflowException

    with registry.words(f"a new version of {registered!r}"):
        try:
            registry.client.create_registered_model(registered)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        registry.client.create_model_version(
            registered, f"models:/{model_id}", record.run_id, model_id=model_id,
            description=candidate.description[:5000],
            tags=dict(candidate.tags) | {"holdfast.request_id": request_id})
    made = registry.requested(registered, request_id)
    if made is None:
        raise ContractError(f"the version of request {request_id} cannot be found again")
    return made


def example(bins: Bins, contract: Contract, rows: int = 5) -> pd.DataFrame:
    """Made-up rows over the bins, never rows of the log, in the contract's types."""
    columns = {}
    for name, kind in contract.inputs.items():
        cell = bins.by_key.get(name)
        values = [_value(cell, (index + 0.5) / rows, index) for index in range(rows)]
        columns[name] = pd.Series([_cast(value, kind) for value in values],
                                  dtype=object if kind in {"string", "binary"} else None)
    frame = pd.DataFrame(columns)
    narrow = {name: {"integer": np.int32, "float": np.float32}[kind]
              for name, kind in contract.inputs.items() if kind in {"integer", "float"}}
    return frame.astype(narrow)


def _value(cell: FeatureBins | None, place: float, index: int) -> Any:
    if cell is None:
        return 0
    if not isinstance(cell, NumericBins):
        return cell.categories[index % len(cell.categories)] if cell.categories else ""
    if not cell.cells:
        return cell.center
    moved = cell.low + place * (cell.high - cell.low)
    if cell.transform == "asinh":
        return float(np.sinh(moved) * cell.scale + cell.center)
    return moved


def _cast(value: Any, kind: str) -> Any:
    if kind == "string":
        return str(value)
    if kind == "binary":
        return b""  # an absent image: no picture can be made up of bins
    if kind == "boolean":
        return value in (True, "true", "True")
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    return int(number) if kind in {"integer", "long"} else number
