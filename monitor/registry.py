"""Registry: MLflow's versions, aliases and runs, in holdfast's words.

The only MLflow import of this package. Nothing here loads a model: signatures come from the
``MLmodel`` file, everything else from tags and from artifacts that are text.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml

from monitor.config import MLflow
from monitor.errors import RegistryError
from monitor.secrets import redact
from monitor.unanswered import unanswered
from monitor.versions import Outcome as Outcome
from monitor.versions import Signature, read_signature
from monitor.versions import Status as Status
from monitor.versions import Version as Version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
FOLDER = "holdfast"
"""Folder of a run's artifacts that holdfast writes."""

DEPLOYMENT = "holdfast.deployment"
"""Tag of a run: whose request it was, among those that share this MLflow."""

Answer = TypeVar("Answer")

_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}


class Registry:
    """A client of one MLflow; every method raises ``RegistryError`` when it cannot answer.

    A server that hangs is given up after about ``timeout`` seconds and one retry, unless
    ``MLFLOW_HTTP_REQUEST_TIMEOUT`` and ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` say otherwise.
    """

    def __init__(self, mlflow: MLflow, *, timeout: int = 10) -> None:
        self.tracking_uri = mlflow.tracking_uri
        self.registry_uri = mlflow.registry_uri or mlflow.tracking_uri
        self._signatures: dict[tuple[str, str], Signature] = {}
        _quiet(timeout)

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's own client; ``retrain`` writes its runs with it."""
        from mlflow import MlflowClient

        for uri in {self.tracking_uri, self.registry_uri}:
            _founded(uri)
        return MlflowClient(self.tracking_uri, self.registry_uri)

    # -- versions and aliases

    def champion(self, registered: str) -> Version | None:
        """The version that alias ``champion`` names; None without such a model or alias."""
        return self.by_alias(registered, CHAMPION)

    def by_alias(self, registered: str, alias: str) -> Version | None:
        """The version that ``alias`` names; None without such a model or alias."""
        number = self.aliases(registered).get(alias)
        return None if number is None else self.version(registered, number)

    def aliases(self, registered: str) -> dict[str, str]:
        """Alias -> version of a registered model; empty when there is no such model."""
        with self.words(f"aliases of {registered!r}"):
            model = _or_none(lambda: self.client.get_registered_model(registered))
        aliases = {} if model is None else model.aliases
        return {alias: str(version) for alias, version in aliases.items()}

    def version(self, registered: str, version: str) -> Version | None:
        """One version; None when there is none of this number."""
        with self.words(f"version {version} of {registered!r}"):
            found = _or_none(lambda: self.client.get_model_version(registered, version))
            return None if found is None else self._version(found)

    def versions(self, registered: str) -> list[Version]:
        """All versions, oldest first."""
        with self.words(f"versions of {registered!r}"):
            found = _pages(lambda token: self.client.search_model_versions(
                f"name = {_quoted(registered)}", page_token=token))
            return sorted((self._version(item) for item in found),
                          key=lambda version: int(version.version))

    def requested(self, registered: str, request_id: str) -> Version | None:
        """The version that a request registered; None as long as it has not."""
        with self.words(f"versions of {registered!r}"):
            found = self.client.search_model_versions(
                f"name = {_quoted(registered)} and "
                f"tags.`holdfast.request_id` = {_quoted(request_id)}")
            ordered = sorted(found, key=lambda item: int(item.version))
            return self._version(ordered[0]) if ordered else None

    def move_alias(self, registered: str, alias: str, *, to: str, expected: str | None) -> bool:
        """Whether ``alias`` now names ``to``; it moves only if it still names ``expected``.

        MLflow has no compare-and-set: the alias is read again just before the move, and read
        back after it. ``expected`` None means that the alias must not exist.
        """
        current = self.aliases(registered).get(alias)
        if current == to:
            return True
        if current != expected:
            return False
        with self.words(f"alias {alias!r} of {registered!r}"):
            self.client.set_registered_model_alias(registered, alias, to)
        return self.aliases(registered).get(alias) == to

    def tag_version(self, registered: str, version: str, tags: dict[str, str]) -> None:
        """Set tags on a version, such as ``holdfast.promoted_at``."""
        with self.words(f"version {version} of {registered!r}"):
            for key, value in tags.items():
                self.client.set_model_version_tag(registered, version, key, value)

    def signature(self, registered: str, version: str) -> Signature:
        """What a version takes and gives, read from its ``MLmodel``; nothing is loaded."""
        key = registered, version
        if key not in self._signatures:
            with self.words(f"signature of {registered!r} version {version}"):
                source = self.client.get_model_version_download_uri(registered, version)
                self._signatures[key] = read_signature(self._fetch(f"{source}/MLmodel"))
        return self._signatures[key]

    def baseline(self, version: Version) -> str | None:
        """The text of the version's own baseline; None for one that holdfast did not train."""
        if not version.run_id:
            return None
        return self.artifact(version.run_id, f"{FOLDER}/baseline.json")

    def onnx(self, registered: str, version: str, folder: Path) -> Path | None:
        """The ONNX file of a version, downloaded; None where it has no ONNX flavour."""
        from mlflow.artifacts import download_artifacts

        with self.words(f"artifact of {registered!r} version {version}"):
            source = self.client.get_model_version_download_uri(registered, version)
            flavours = (yaml.safe_load(self._fetch(f"{source}/MLmodel")) or {}).get("flavors", {})
            if "onnx" not in flavours:
                return None
            found = download_artifacts(source, dst_path=str(folder),
                                       tracking_uri=self.tracking_uri,
                                       registry_uri=self.registry_uri)
        return Path(found) / str(flavours["onnx"]["data"])

    # -- runs

    def outcome(self, request_id: str) -> Outcome | None:
        """What became of a request; None while no run carries its id."""
        run = self.run_of(request_id)
        if run is None:
            return None
        tags = run.data.tags
        status = cast(Status, tags.get("holdfast.outcome", "running"))
        text = None if status == "running" else self.artifact(run.info.run_id,
                                                              f"{FOLDER}/result.json")
        return Outcome(request_id, status, tags.get("holdfast.version"),
                       tags.get("holdfast.reason", ""), run.info.run_id,
                       json.loads(text) if text else {})

    def run_of(self, request_id: str) -> Run | None:
        """The run that carries a request's id (the oldest, should there be two)."""
        with self.words(f"the run of request {request_id}"):
            return self._run_tagged("holdfast.request_id", request_id)

    def runs(self, model: str, *, tag: str, most: int, deployment: str = "") -> list[Run]:
        """The newest runs of a model that carry a tag, newest first; those of other deployments
        left out (runs of before there were any do not tell, and are anybody's)."""
        experiment = self.experiment(model)
        with self.words(f"runs of {model!r}"):
            found = _pages(lambda token: self.client.search_runs(
                [experiment], f"tags.`{tag}` != ''", order_by=["attributes.start_time DESC"],
                page_token=token))
        return [run for run in found if not deployment
                or run.data.tags.get(DEPLOYMENT, deployment) == deployment][:most]

    def folder(self, run_id: str, path: str, target: Path) -> Path | None:
        """A folder of a run's artifacts, downloaded below ``target``; None when it is absent."""
        with self.words(f"artifacts {path} of run {run_id}"):
            parent = path.rpartition("/")[0]
            if path not in {item.path for item in self.client.list_artifacts(run_id, parent)}:
                return None
            target.mkdir(parents=True, exist_ok=True)
            return Path(self.client.download_artifacts(run_id, path, str(target)))

    def experiment(self, model: str) -> str:
        """The id of the experiment that holds this model's runs, made when absent."""
        name = f"{FOLDER}/{model}"
        with self.words(f"experiment {name!r}"):
            found = self.client.get_experiment_by_name(name)
            if found is None:
                self._raced(lambda: self.client.create_experiment(
                    name, artifact_location=_beside(self.tracking_uri)))
                found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise RegistryError(f"MLflow experiment {name!r} was deleted; right would be to "
                                "restore it, or to remove it for good")
        return str(found.experiment_id)

    def log_report(self, model: str, path: str | Path, *, version: str = "",
                   deployment: str = "") -> str:
        """Log a report file to the run that collects this version's reports, of one deployment;
        its address."""
        path, collection = Path(path), "/".join(filter(None, [model, version, deployment]))
        experiment = self.experiment(model)
        with self.words(f"reports of {model!r}"):
            run = self._run_tagged("holdfast.reports", collection) or self.client.create_run(
                experiment, tags={"holdfast.reports": collection},
                run_name=f"reports of version {version or 'unknown'}")
            run_id = str(run.info.run_id)
            self.client.log_artifact(run_id, str(path), f"{FOLDER}/reports")
            if run.info.status == "RUNNING":
                self.client.set_terminated(run_id)
        return f"runs:/{run_id}/{FOLDER}/reports/{path.name}"

    def artifact(self, run_id: str, path: str) -> str | None:
        """The text of a run's artifact; None when the run or the artifact is absent."""
        content = self.artifact_bytes(run_id, path)
        return None if content is None else content.decode()

    def artifact_bytes(self, run_id: str, path: str) -> bytes | None:
        """The bytes of a run's artifact; None when the run or the artifact is absent."""
        with self.words(f"artifact {path} of run {run_id}"), \
                tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
            parent = path.rpartition("/")[0]
            listed = _or_none(lambda: self.client.list_artifacts(run_id, parent or None))
            if path not in {item.path for item in listed or []}:
                return None
            return Path(self.client.download_artifacts(run_id, path, folder)).read_bytes()

    def link(self, uri: str) -> str | None:
        """Where the MLflow UI shows a ``runs:/`` address; None for an embedded MLflow."""
        if not self.tracking_uri.startswith("http"):
            return None
        run_id, _, path = uri.removeprefix("runs:/").partition("/")
        with self.words(f"run {run_id}"):
            experiment = self.client.get_run(run_id).info.experiment_id
        base = self.tracking_uri.rstrip("/")
        return redact(f"{base}/#/experiments/{experiment}/runs/{run_id}/artifacts/{path}")

    def cancel(self, run_id: str, reason: str = "cancelled") -> None:
        """Mark a run as ended without a result."""
        with self.words(f"run {run_id}"):
            self.client.set_tag(run_id, "holdfast.reason", reason)
            self.client.set_tag(run_id, "holdfast.outcome", "failed")
            self.client.set_terminated(run_id, "KILLED")

    # -- how

    def _version(self, found: ModelVersion) -> Version:
        try:
            signature = self.signature(found.name, str(found.version))
        except RegistryError:
            signature = Signature()
        return Version(found.name, str(found.version), self._run_id(found),
                       dict(found.tags or {}),
                       datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
                       signature.inputs, signature.outputs, signature.size)

    def _run_id(self, found: ModelVersion) -> str:
        model_id = getattr(found, "model_id", None)
        if found.run_id or not model_id:
            return found.run_id or ""
        model = _or_none(lambda: self.client.get_logged_model(model_id))
        return "" if model is None else str(model.source_run_id or "")

    def _run_tagged(self, tag: str, value: str) -> Run | None:
        experiments = _pages(lambda token: self.client.search_experiments(
            filter_string=f"name LIKE '{FOLDER}/%'", page_token=token))
        if not experiments:
            return None
        found = self.client.search_runs([item.experiment_id for item in experiments],
                                        f"tags.`{tag}` = {_quoted(value)}",
                                        order_by=["attributes.start_time ASC"], max_results=1)
        return found[0] if found else None

    def _raced(self, create: Callable[[], Answer]) -> Answer | None:
        """What ``create`` gives; None when somebody else was faster."""
        from mlflow.exceptions import MlflowException

        try:
            return create()
        except MlflowException as error:
            if error.error_code == "RESOURCE_ALREADY_EXISTS":
                return None
            raise

    def _fetch(self, uri: str) -> str:
        from mlflow.artifacts import download_artifacts

        with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
            return Path(download_artifacts(uri, dst_path=folder, tracking_uri=self.tracking_uri,
                                           registry_uri=self.registry_uri)).read_text("utf-8")

    @contextmanager
    def words(self, what: str) -> Iterator[None]:
        """Turns what MLflow raises inside into ``RegistryError``, without secrets."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise RegistryError(redact(
                f"MLflow at {self.tracking_uri}: {what}: {unanswered(error)}; right would be a "
                "server that answers and knows it")) from error


def _quiet(timeout: int) -> None:
    """Bound what a hung server may cost, and keep MLflow silent; the operator's settings win."""
    settings = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
                "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR",
                "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
                "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "DO_NOT_TRACK": "1",
                "GIT_PYTHON_REFRESH": "quiet"}
    for key, value in settings.items():
        os.environ.setdefault(key, value)
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _beside(tracking_uri: str) -> str | None:
    """Where an embedded MLflow keeps artifacts: beside its file, not in the current folder."""
    path = tracking_uri.removeprefix("sqlite:///")
    return None if path == tracking_uri else (
        (Path(path).absolute().parent / "mlartifacts").as_uri())


def _founded(uri: str) -> None:
    """Make an embedded database that is absent as a whole or not at all.

    MLflow creates its tables one by one: killed meanwhile, it could never open the file again.
    """
    from mlflow import MlflowClient

    path = Path(uri.removeprefix("sqlite:///"))
    if str(path) == uri or path.exists() or not path.absolute().parent.is_dir():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{draft}", f"sqlite:///{draft}").search_experiments(max_results=1)
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def _or_none(call: Callable[[], Answer]) -> Answer | None:
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


def _pages(call: Callable[[str | None], Any]) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = call(token)
        found += page
        token = page.token
        if not token:
            return found


def _quoted(text: str) -> str:
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"
