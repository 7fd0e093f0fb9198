"""Jobs: a request becomes a Kubernetes Job, whose name follows from the request.

So a Job that is there already (409) is one that was started, by whichever daemon. The request
travels as an annotation that the pod finds as a file; the outcome comes back through MLflow
before the Job ends, which is long before the Job is removed.
"""

from __future__ import annotations

import hashlib
import re
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

from monitor import traces
from monitor.cluster import Cluster, Refused
from monitor.deployment import KubernetesJobs
from monitor.errors import ConfigError, HoldfastError
from monitor.launch import GRACE
from monitor.parsing import read
from monitor.request import Request, model_of

FINAL = [2, 42]
"""Exit codes of ``python -m retrain`` after which another try would end no other way."""
MOST = 200_000
"""Bytes of a request at most; Kubernetes takes 256 KiB of annotations."""
ANNOTATION = "holdfast/request"
LABELS = {"app.kubernetes.io/managed-by": "holdfast", "app.kubernetes.io/component": "retrain"}
PLACE = "/holdfast"
SECONDS = 10.0
"""Deadline of one call to the API server."""


class Jobs:
    """A ``Launcher`` on Kubernetes."""

    def __init__(self, settings: KubernetesJobs) -> None:
        self._settings = settings
        self._template = template(settings)
        self._known: Cluster | None = None
        self._watched: dict[str, str] = {}

    @property
    def _cluster(self) -> Cluster:
        if self._known is None:
            self._known = Cluster(self._settings.namespace)
        return self._known

    def start(self, request: Request) -> None:
        """Make the request's Job; one of that name is the one that was made before."""
        owner = self._owner()
        try:
            self._cluster.call("POST", self._path, job(request, self._settings, self._template,
                                                       owner=owner), seconds=SECONDS)
        except Refused as error:
            if error.status != 409:
                raise
        self._watched[request.request_id] = request.model

    def running(self, request_id: str) -> bool:
        """Whether the request's Job has not ended; one that waits for a node or a queue runs."""
        found = self._job(request_id)
        if found is None or _over(found):
            return False
        self._watched.setdefault(request_id, _asked_of(found))
        return True

    def failures(self, request_id: str) -> int:
        """None: the cluster itself replaces pods that fail, and ``ended`` tells when no more."""
        return 0

    def ended(self, request_id: str) -> str:
        """Why the Job ended, in the cluster's words; '' where it has not, or is not there."""
        found = self._job(request_id)
        over = _over(found) if found else None
        if over is None:
            return ""
        if over["type"] == "Complete":
            return f"Job {name(request_id)} is complete and recorded no outcome"
        why = ": ".join(filter(None, (over.get("reason"), over.get("message"))))
        return f"Job {name(request_id)} failed: {why or 'for no reason that is told'}"

    def done(self) -> set[str]:
        """None: to know costs a call of the API server."""
        return set()

    def over(self) -> set[str]:
        """Models whose Job has ended or is gone: a call for each that was seen to run."""
        found = set[str]()
        for request_id, model in list(self._watched.items()):
            try:
                job = self._job(request_id)
            except HoldfastError:
                continue  # the API server is away: asked again
            if job is None or _over(job):
                self._watched.pop(request_id, None)
                found |= {model} - {""}
        return found

    def stop(self, grace: timedelta = GRACE) -> None:
        """Nothing: Jobs go on without the daemon, and its successor finds them by their names."""

    def _job(self, request_id: str) -> dict[str, Any] | None:
        return self._cluster.find(f"{self._path}/{name(request_id)}", seconds=SECONDS)

    def _owner(self) -> list[dict[str, Any]]:
        """The reference to the Deployment whose end is the end of its Jobs."""
        owner = self._settings.owner
        if owner is None:
            return []
        found = self._cluster.call("GET", f"/apis/apps/v1/namespaces/{self._cluster.namespace}"
                                          f"/deployments/{owner}", seconds=SECONDS)
        return [{"apiVersion": "apps/v1", "kind": "Deployment", "name": owner,
                 "uid": found["metadata"]["uid"]}]

    @property
    def _path(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._cluster.namespace}/jobs"


def name(request_id: str) -> str:
    """The name of the request's Job: readable, unique, and short enough for its pods' names."""
    plain = re.sub(r"[^a-z0-9]+", "-", request_id.lower()).strip("-")[:40].rstrip("-")
    return f"{plain}-{hashlib.sha256(request_id.encode()).hexdigest()[:10]}".lstrip("-")


def template(settings: KubernetesJobs) -> dict[str, Any]:
    """The pod template of the file; ``ConfigError`` where it is none."""
    path = Path(settings.template)
    found = read(path, "spec")
    pod = found.get("spec")
    containers = pod.get("containers") if isinstance(pod, dict) else None
    if not (isinstance(containers, list) and containers and isinstance(containers[0], dict)
            and containers[0].get("name") and containers[0].get("image")):
        raise ConfigError([f"launch.kubernetes.template: {path}: is no pod template; right would "
                           "be spec.containers[0] with a name and the trainer's image"])
    return found


def job(request: Request, settings: KubernetesJobs, pod: dict[str, Any], *,
        owner: list[dict[str, Any]]) -> dict[str, Any]:
    """The Job as it is sent."""
    text = request.to_json()
    if len(text.encode()) > MOST:
        raise HoldfastError(f"request {request.request_id} has {len(text.encode())} bytes; a Job "
                            f"carries {MOST} at most")
    called, queue = name(request.request_id), settings.queue
    labels = LABELS | ({"kueue.x-k8s.io/queue-name": queue} if queue else {})
    made = _pod(deepcopy(pod), settings, labels=labels, text=text, called=called)
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget",
                                                       "status": "True"}]},
             {"action": "FailJob", "onExitCodes": {
                 "containerName": made["spec"]["containers"][0]["name"], "operator": "In",
                 "values": FINAL}}]
    spec: dict[str, Any] = {
        "backoffLimit": settings.retries, "podFailurePolicy": {"rules": rules},
        "activeDeadlineSeconds": round(settings.deadline.total_seconds()),
        "ttlSecondsAfterFinished": round(settings.keep.total_seconds()), "template": made}
    if queue:
        spec["suspend"] = True
    metadata: dict[str, Any] = {"name": called, "labels": labels,
                                "annotations": {"holdfast/request-id": request.request_id}}
    if owner:
        metadata["ownerReferences"] = owner
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod(made: dict[str, Any], settings: KubernetesJobs, *, labels: dict[str, str], text: str,
         called: str) -> dict[str, Any]:
    """The template with the request as a file, a place for checkpoints, and what is asked for."""
    metadata = made.setdefault("metadata", {})
    metadata["labels"] = metadata.get("labels", {}) | labels
    metadata["annotations"] = metadata.get("annotations", {}) | {ANNOTATION: text}
    pod = made["spec"]
    pod["restartPolicy"] = "Never"
    volumes = pod.setdefault("volumes", [])
    volumes.append({"name": "request", "downwardAPI": {"items": [{
        "path": "request.json",
        "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}']"}}]}})
    if all(volume["name"] != "work" for volume in volumes):
        volumes.append({"name": "work", "emptyDir": {}})
    container = pod["containers"][0]
    mounts = container.setdefault("volumeMounts", [])
    mounts.append({"name": "request", "mountPath": f"{PLACE}/request", "readOnly": True})
    kept = [mount["mountPath"] for mount in mounts if mount["name"] == "work"]
    if not kept:
        mounts.append({"name": "work", "mountPath": f"{PLACE}/work"})
    container.setdefault("command", ["python", "-m", "retrain"])
    container["args"] = [f"{PLACE}/request/request.json", "--work",
                         f"{(kept or [f'{PLACE}/work'])[0]}/{called}"]
    for key, value in traces.environment().items():
        container.setdefault("env", []).append({"name": key, "value": value})
    resources = container.setdefault("resources", {})
    for key, asked in (("requests", settings.requests), ("limits", settings.limits)):
        if asked:
            resources[key] = resources.get(key, {}) | asked
    return made


def _asked_of(found: dict[str, Any]) -> str:
    """The model whose request the Job works on; '' where that cannot be read."""
    return model_of(found["spec"]["template"].get("metadata", {}).get("annotations", {}).get(
        ANNOTATION, ""))


def _over(found: dict[str, Any]) -> dict[str, Any] | None:
    """The condition that a Job ended with."""
    conditions: list[dict[str, Any]] = (found.get("status") or {}).get("conditions") or []
    return next((item for item in conditions
                 if item["type"] in {"Complete", "Failed"} and item["status"] == "True"), None)
