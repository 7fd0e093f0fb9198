"""The launcher on Kubernetes, against an API server that enforces schemas and conflicts."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.config import Config, Log, MLflow, Model
from monitor.daemon import Daemon
from monitor.deployment import KubernetesJobs
from monitor.deps import Deps
from monitor.errors import ConfigError, HoldfastError
from monitor.follow import conclude
from monitor.jobs import ANNOTATION, Jobs, name
from monitor.registry import Registry
from monitor.request import Request
from monitor.store import Store
from monitor.window import parse_time
from tests.servers.cluster import StandIn

REQUEST = Request("Fraud_Model-train-20260301T000000", "train", "Fraud_Model",
                  "/etc/holdfast/holdfast.yaml", parse_time("2026-03-01"), reason="it drifted")
CALLED = name(REQUEST.request_id)
POD: dict[str, Any] = {
    "metadata": {"labels": {"team": "risk"}},
    "spec": {"serviceAccountName": "trainer", "securityContext": {"runAsNonRoot": True},
             "containers": [{"name": "trainer", "image": "registry.example/holdfast-trainer:1",
                             "resources": {"requests": {"memory": "4Gi"}},
                             "volumeMounts": [{"name": "config", "mountPath": "/etc/holdfast"}]}],
             "volumes": [{"name": "config", "configMap": {"name": "holdfast"}}]}}


def jobs(folder: Path, pod: dict[str, Any] = POD, **settings: Any) -> Jobs:
    path = folder / "trainer.yaml"
    path.write_text(yaml.safe_dump(pod))
    return Jobs(KubernetesJobs(template=str(path), **settings))


@pytest.fixture
def cluster(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setenv("KUBECONFIG", str(stand_in.door().kubeconfig))
    return stand_in


def ends(cluster: StandIn, kind: str, **words: str) -> None:
    """What the cluster's controller writes once a Job is over."""
    done = cluster.get("jobs", CALLED)
    done["status"] = {"conditions": [{"type": kind, "status": "True", **words}]}
    cluster.put("jobs", CALLED, done)


def test_a_request_is_a_job_that_bounds_and_owns(cluster: StandIn, tmp_path: Path) -> None:
    cluster.put("deployments", "holdfast", {"metadata": {}})
    jobs(tmp_path, owner="holdfast", queue="training", limits={"nvidia.com/gpu": "1"},
         deadline="2h").start(REQUEST)
    (made,) = cluster.all("jobs")
    spec = made["spec"]
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
    (owner,) = made["metadata"]["ownerReferences"]
    assert owner["uid"] == cluster.get("deployments", "holdfast")["metadata"]["uid"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["suspend"]) == (2, 7200, True)
    assert spec["ttlSecondsAfterFinished"] == timedelta(days=7).total_seconds()
    ignore, fail = spec["podFailurePolicy"]["rules"]
    assert (ignore["action"], ignore["onPodConditions"][0]["type"]) == ("Ignore",
                                                                         "DisruptionTarget")
    assert (fail["action"], fail["onExitCodes"]["containerName"]) == ("FailJob", "trainer")
    assert 42 in fail["onExitCodes"]["values"]
    pod = spec["template"]
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["securityContext"] == {"runAsNonRoot": True}
    assert pod["metadata"]["labels"]["team"] == "risk"
    assert Request.from_json(pod["metadata"]["annotations"][ANNOTATION]) == REQUEST
    assert pod["spec"]["containers"][0]["resources"] == {
        "requests": {"memory": "4Gi"}, "limits": {"nvidia.com/gpu": "1"}}


def test_the_pod_finds_its_request_and_a_place_to_work(cluster: StandIn, tmp_path: Path) -> None:
    jobs(tmp_path).start(REQUEST)
    pod = cluster.get("jobs", CALLED)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] + container["args"] == [
        "python", "-m", "retrain", "/holdfast/request/request.json", "--work",
        f"/holdfast/work/{CALLED}"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert places == {"config": "/etc/holdfast", "request": "/holdfast/request",
                      "work": "/holdfast/work"}
    assert {"name": "work", "emptyDir": {}} in pod["volumes"]


def test_a_volume_for_checkpoints_is_taken_as_it_is(cluster: StandIn, tmp_path: Path) -> None:
    kept = {"name": "work", "persistentVolumeClaim": {"claimName": "checkpoints"}}
    spec = POD["spec"] | {"volumes": [*POD["spec"]["volumes"], kept]}
    jobs(tmp_path, POD | {"spec": spec}).start(REQUEST)
    volumes = cluster.get("jobs", CALLED)["spec"]["template"]["spec"]["volumes"]
    assert [volume for volume in volumes if volume["name"] == "work"] == [kept]


def test_started_twice_by_two_daemons_there_is_one_job(cluster: StandIn, tmp_path: Path) -> None:
    one, other = jobs(tmp_path), jobs(tmp_path)
    for launcher in (one, other, one):
        launcher.start(REQUEST)
    assert cluster.asked.count("POST jobs/") == 3
    assert len(cluster.all("jobs")) == 1
    assert other.running(REQUEST.request_id)
    one.stop()
    assert other.running(REQUEST.request_id)


def test_a_job_that_failed_tells_why_and_is_not_started_again(cluster: StandIn, tmp_path: Path
                                                              ) -> None:
    launcher = jobs(tmp_path)
    assert not launcher.running(REQUEST.request_id)
    assert launcher.ended(REQUEST.request_id) == ""
    launcher.start(REQUEST)
    assert launcher.ended(REQUEST.request_id) == ""
    ends(cluster, "Failed", reason="DeadlineExceeded", message="Job was active too long")
    assert not launcher.running(REQUEST.request_id)
    assert launcher.ended(REQUEST.request_id) == (
        f"Job {CALLED} failed: DeadlineExceeded: Job was active too long")
    ends(cluster, "Complete")
    assert "recorded no outcome" in launcher.ended(REQUEST.request_id)


def test_the_end_of_a_job_is_told_once_by_whoever_saw_it_run(cluster: StandIn, tmp_path: Path
                                                              ) -> None:
    """Also by a daemon that was started later; one that saw none asks nothing."""
    one, later, idle = jobs(tmp_path), jobs(tmp_path), jobs(tmp_path)
    one.start(REQUEST)
    assert later.running(REQUEST.request_id)
    assert (one.over(), later.over(), idle.over()) == (set(), set(), set())
    asked = len(cluster.asked)
    ends(cluster, "Failed", reason="BackoffLimitExceeded")
    assert idle.over() == set()
    assert len(cluster.asked) == asked
    for launcher in (one, later):
        assert launcher.done() == set()
        assert (launcher.over(), launcher.over()) == ({REQUEST.model}, set())


def test_a_model_is_looked_at_once_its_job_has_ended(cluster: StandIn, tmp_path: Path) -> None:
    model = Model(name=REQUEST.model, log=Log(source="log.csv", timestamp="at", label="late"))
    config, later = Config(models=[model]), datetime.now(UTC) + timedelta(hours=1)
    launcher = jobs(tmp_path)
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        daemon = Daemon(Deps(config, "holdfast.yaml", store, Registry(config.mlflow), launcher,
                             None))
        daemon._scheduler.start(paused=True)
        job = daemon._scheduler.add_job(print, "interval", hours=1, id=model.name,
                                        next_run_time=later)
        launcher.start(REQUEST)
        for over in (False, True):
            daemon._watch()
            daemon._heed()
            daemon._heeded = 0.0
            assert (job.next_run_time < later) == over
            if not over:
                ends(cluster, "Complete")
        daemon._scheduler.shutdown(wait=False)


def test_a_request_whose_job_failed_ends_with_the_clusters_reason(
        cluster: StandIn, tmp_path: Path, mlflow_uri: str) -> None:
    launcher, now = jobs(tmp_path), parse_time("2026-03-02")
    model = Model(name="Fraud_Model", log=Log(source="log.csv", timestamp="at", label="late"))
    config = Config(models=[model], mlflow=MLflow(tracking_uri=mlflow_uri))
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        deps = Deps(config, "holdfast.yaml", store, Registry(config.mlflow), launcher, None)
        store.request(REQUEST)
        launcher.start(REQUEST)
        for _ in range(2):
            row = store.open_request(model.name)
            assert row is not None
            conclude(row, model, deps, now)
            ends(cluster, "Failed", reason="BackoffLimitExceeded")
        (row,) = store.requests(model.name)
    assert row.status == "failed"
    assert row.outcome is not None
    assert row.outcome["reason"] == f"Job {CALLED} failed: BackoffLimitExceeded"
    assert cluster.asked.count("POST jobs/") == 1


def test_mistakes_are_told_in_words(cluster: StandIn, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no pod template; right would be"):
        jobs(tmp_path, {"spec": {"containers": []}})
    with pytest.raises(HoldfastError, match=r"404 deployments .*not found"):
        jobs(tmp_path, owner="nobody").start(REQUEST)
    with pytest.raises(HoldfastError, match="bytes; a Job carries"):
        jobs(tmp_path).start(replace(REQUEST, reason="x" * 300_000))
    cluster.forbidden.add("POST jobs")
    with pytest.raises(HoldfastError, match=r"403 jobs is forbidden.*right would be a Role"):
        jobs(tmp_path).start(REQUEST)
    cluster.doors[0].open.clear()


def test_what_the_schema_refuses_is_told(cluster: StandIn, tmp_path: Path) -> None:
    wrong = POD | {"spec": POD["spec"] | {"container": "trainer"}}
    with pytest.raises(HoldfastError, match=r"422 1 mistakes, such as spec\.template\."):
        jobs(tmp_path, wrong).start(REQUEST)


def test_names_differ_where_requests_do() -> None:
    long = [f"{'m' * 80}-train-{number}" for number in range(3)]
    names = {name(one) for one in [*long, "A_b", "a-b", "---"]}
    assert len(names) == 6
    assert all(len(one) <= 52 for one in names)


if "KUBECONFIG" in os.environ:

    def test_a_real_cluster_takes_the_job(tmp_path: Path) -> None:
        own = replace(REQUEST, request_id=f"holdfast-test-{os.getpid()}")
        pod = {"spec": {"containers": [POD["spec"]["containers"][0] | {"volumeMounts": []}]}}
        launcher = jobs(tmp_path, pod, queue="none")  # stays suspended
        launcher.start(own)
        try:
            launcher.start(own)
            assert launcher.running(own.request_id)
        finally:
            launcher._call("DELETE", f"/{name(own.request_id)}")
