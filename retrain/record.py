"""Record: the MLflow run of one request. Every write may be repeated after a kill."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.registry import DEPLOYMENT, FOLDER, Outcome, Registry, Status
from monitor.request import Request
from monitor.secrets import redact, redacted

_PARENT = "mlflow.parentRunId"


@dataclass(frozen=True, slots=True)
class Record:
    """A run that carries a request's id. Metrics are as old as their run, so that MLflow takes one
    that is logged again after a kill for the same one.

    Metrics of training steps go to one child run per stage: those logged to this run before
    its model would attach to the model wrongly.
    """

    registry: Registry
    request: Request
    experiment: str
    run_id: str

    @classmethod
    def open(cls, registry: Registry, request: Request) -> Record:
        """The request's run, found by its tag or made; it is running again."""
        experiment = registry.experiment(request.model)
        run = registry.run_of(request.request_id)
        with registry.words(f"run of request {request.request_id}"):
            if run is None:
                run = registry.client.create_run(
                    experiment, run_name=request.request_id,
                    tags={"holdfast.request_id": request.request_id,
                          "holdfast.kind": request.kind, "holdfast.model": request.model,
                          **({DEPLOYMENT: request.deployment} if request.deployment else {})})
            elif run.info.status != "RUNNING":
                registry.client.update_run(run.info.run_id, status="RUNNING")
        record = cls(registry, request, run.info.experiment_id, run.info.run_id)
        record.json("request.json", json.loads(request.to_json()))
        return record

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; those that stand already stay."""
        from mlflow.entities import Param

        with self.registry.words(f"run {self.run_id}"):
            stand = self.registry.client.get_run(self.run_id).data.params
            fresh = [Param(key, redact(str(value))[:5000]) for key, value in values.items()
                     if key not in stand]
            self.registry.client.log_batch(self.run_id, params=fresh)

    def stage(self, name: str, history: Sequence[Mapping[str, float]]) -> None:
        """Log a stage's metrics, one step per entry, to a child run of its own, once."""
        from mlflow.entities import Metric

        client = self.registry.client
        with self.registry.words(f"stage {name} of run {self.run_id}"):
            run = self._child(name)
            if run.info.status != "RUNNING":
                return
            client.log_batch(run.info.run_id, metrics=[
                Metric(key, float(value), run.info.start_time, int(entry.get("epoch", step)))
                for step, entry in enumerate(history) for key, value in entry.items()
                if key != "epoch" and value == value])
            client.set_terminated(run.info.run_id)

    def trial(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log a trial of a search as a child run of its own, once."""
        from mlflow.entities import Metric, Param

        client = self.registry.client
        with self.registry.words(f"{name} of run {self.run_id}"):
            run = self._child(name)
            if run.info.status != "RUNNING":
                return
            client.log_batch(run.info.run_id, metrics=[
                Metric(key, float(value), run.info.start_time, 0)
                for key, value in metrics.items()],
                params=[Param(key, redact(str(value))[:5000]) for key, value in params.items()])
            client.set_terminated(run.info.run_id)

    def data(self, name: str, content_hash: str, source: str) -> None:
        """Log the rows that were trained on as an input of the run, by their content's hash."""
        from mlflow.entities import Dataset, DatasetInput

        with self.registry.words(f"run {self.run_id}"):
            self.registry.client.log_inputs(self.run_id, [DatasetInput(
                Dataset(name, content_hash[:36], "local", json.dumps({"uri": redact(source)})))])

    def metrics(self, values: Mapping[str, float], model_id: str | None = None) -> None:
        """Log final metrics to the run (and to its model); a value that stands already stays.

        MLflow takes one that is logged again for the same only if it is: measured times are not.
        """
        client = self.registry.client
        with self.registry.words(f"run {self.run_id}"):
            run = client.get_run(self.run_id)
            for key, value in values.items():
                client.log_metric(self.run_id, key, float(run.data.metrics.get(key, value)),
                                  run.info.start_time, model_id=model_id)

    def text(self, name: str, content: str) -> None:
        """Write words as artifact ``holdfast/NAME``, secrets masked."""
        with self.registry.words(f"artifact {name} of run {self.run_id}"):
            self.registry.client.log_text(self.run_id, redact(content), f"{FOLDER}/{name}")

    def json(self, name: str, values: Any, *, exact: bool = False) -> None:
        """Write a JSON artifact ``holdfast/NAME``, secrets masked in its texts alone: one may be
        ``5432``, and numbers hold that too."""
        text = _dumps(values)
        self.exact(name, text if exact else _dumps(redacted(json.loads(text))))

    def exact(self, name: str, content: str) -> None:
        """Write what is read back as artifact ``holdfast/NAME``, as it is: names and counts of the
        log, in which a mask would be another name or no number."""
        self.binary(name, content.encode())

    def file(self, path: Path, name: str) -> None:
        """Write a file as artifact ``holdfast/NAME``."""
        self.binary(name, path.read_bytes())

    def binary(self, name: str, content: bytes) -> None:
        """Write bytes as artifact ``holdfast/NAME``."""
        folder, _, base = f"{FOLDER}/{name}".rpartition("/")
        with self.registry.words(f"artifact {name} of run {self.run_id}"), \
                tempfile.TemporaryDirectory(prefix="holdfast-") as scratch:
            copy = Path(scratch) / base
            copy.write_bytes(content)
            self.registry.client.log_artifact(self.run_id, str(copy), folder)

    def tag(self, key: str, value: str) -> None:
        with self.registry.words(f"run {self.run_id}"):
            self.registry.client.set_tag(self.run_id, key, redact(value)[:5000])

    def tags(self) -> dict[str, str]:
        with self.registry.words(f"run {self.run_id}"):
            return dict(self.registry.client.get_run(self.run_id).data.tags)

    def conclude(self, status: Status, reason: str, *, version: str | None = None,
                 result: Mapping[str, Any] | None = None) -> Outcome:
        """Write what became of the request; the outcome's tag comes last."""
        plain = dict(result or {})
        self.json("result.json", plain)
        self.tag("holdfast.reason", reason)
        if version is not None:
            self.tag("holdfast.version", version)
        self.tag("holdfast.outcome", status)
        with self.registry.words(f"run {self.run_id}"):
            self.registry.client.set_terminated(
                self.run_id, "FAILED" if status == "failed" else "FINISHED")
        return Outcome(self.request.request_id, status, version, reason, self.run_id, plain)

    def _child(self, name: str) -> Any:
        client = self.registry.client
        found = client.search_runs([self.experiment],
                                   f"tags.`{_PARENT}` = '{self.run_id}' and "
                                   f"tags.`holdfast.stage` = '{name}'", max_results=1)
        return found[0] if found else client.create_run(
            self.experiment, run_name=name,
            tags={_PARENT: self.run_id, "holdfast.stage": name})


def _dumps(values: Any) -> str:
    return json.dumps(values, indent=1, sort_keys=True, default=str)
