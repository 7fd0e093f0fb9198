"""The chart, rendered by Helm: what a cluster gets is valid, restricted and what was asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import helm_python as helm
import jsonschema
import kubernetes_validate
import pytest
import yaml

from monitor.config import load
from monitor.deployment import KubernetesJobs
from monitor.jobs import template
from tests.data import ROOT
from tests.helm.crds import KINDS

CHART = ROOT / "helm"
VERSION = "1.35"
MODELS = [{"name": "sizes", "log": {"source": "s3://bucket/*.parquet", "timestamp": "at",
                                    "prediction": "answer"}}]
DATABASE = {"kind": "postgresql", "postgresql": {"existingSecret": "database"}}
STANDBY = {"store": DATABASE, "persistence": {"enabled": False},
           "highAvailability": {"enabled": True}}
JOBS = {"jobs": {"enabled": True, "queue": "gpus", "nodeSelector": {"gpu": "yes"},
                 "tolerations": [{"operator": "Exists"}]}}
WATCHED = {"serviceMonitor": {"enabled": True, "additionalLabels": {"release": "prometheus"}},
           "prometheusRule": {"enabled": True, "runbooksUrl": "https://books.example.org"},
           "dashboards": {"enabled": True}}
EXTRAS = {
    "additionalLabels": {"team": "risk"}, "podLabels": {"a": "b"}, "podAnnotations": {"a": "b"},
    "image": {"registry": "registry.example.org", "digest": "sha256:" + "0" * 64,
              "pullSecrets": [{"name": "pull"}]},
    "serviceAccount": {"annotations": {"role": "reader"}}, "priorityClassName": "high",
    "extraEnv": [{"name": "A", "value": "b"}], "extraEnvFrom": [{"secretRef": {"name": "s"}}],
    "extraArgs": ["--verbose"], "extraVolumes": [{"name": "x", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "x", "mountPath": "/x"}], "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": {}},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap",
                      "metadata": {"name": "{{ .Release.Name }}-extra"}}]}
NETWORK = {"networkPolicy": {"enabled": True, "ingressFrom": [{"podSelector": {}}],
                             "database": {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}}
TOKENS = [{"name": "prometheus", "scope": "metrics", "token_file": "/etc/holdfast-secrets/scrape"}]
GUARDED = {
    "config": {"models": MODELS, "http": {"public": ["read"], "tokens": TOKENS, "port": 1}},
    "http": {"existingSecret": "tokens", "tls": {"existingSecret": "tls", "mutual": True}},
    "serviceMonitor": {
        "enabled": True, "authorization": {"credentials": {"name": "tokens", "key": "scrape"}},
        "tlsConfig": {"ca": {"secret": {"name": "tls", "key": "ca.crt"}}, "serverName": "r"}}}
TOLD = {"notify": {"existingSecret": "people", "key": "apprise"},
        "config": {"models": MODELS, "notify": {"quiet": "22:00-07:00"},
                   "http": {"url": "https://holdfast.example.org/"}},
        "prometheusRule": {"enabled": True}}
MATRIX: dict[str, dict[str, Any]] = {
    "least": {}, "told": TOLD, "database": {"store": DATABASE}, "standby": STANDBY, "jobs": JOBS,
    "watched": WATCHED, "extras": EXTRAS, "network": NETWORK, "guarded": GUARDED, "claim": {
        "persistence": {"existingClaim": "mine"}, "serviceAccount": {"create": False}},
    "all": STANDBY | JOBS | WATCHED | EXTRAS | NETWORK}

Objects = dict[tuple[str, str], dict[str, Any]]


def render(values: dict[str, Any], name: str = "r", namespace: str = "ns") -> Objects:
    """Kind and name -> object, as Helm renders it."""
    files = helm.Chart.load(str(CHART)).render(
        {"config": {"models": MODELS}} | values, name=name, namespace=namespace)
    found = [document for path, text in files.items() if path.endswith(".yaml")
             for document in yaml.safe_load_all(text) if document]
    objects = {(item["kind"], item["metadata"]["name"]): item for item in found}
    assert len(objects) == len(found)
    return objects


def pods(objects: Objects) -> list[dict[str, Any]]:
    """Every pod's spec: the daemon's, the test's, and the Jobs' of the configuration."""
    made = [item["spec"]["template"]["spec"] if kind == "Deployment" else item["spec"]
            for (kind, _), item in objects.items() if kind in {"Deployment", "Pod"}]
    jobs = objects["ConfigMap", "r-holdfast"]["data"].get("job.yaml")
    return made + ([yaml.safe_load(jobs)["spec"]] if jobs else [])


@pytest.fixture(scope="module", params=MATRIX, ids=list(MATRIX))
def objects(request: pytest.FixtureRequest) -> Objects:
    return render(MATRIX[request.param])


def test_every_object_is_what_kubernetes_takes(objects: Objects) -> None:
    for (kind, _), item in objects.items():
        if kind in KINDS:
            jsonschema.validate(item["spec"], KINDS[kind])
        else:
            kubernetes_validate.validate(item, VERSION, strict=True)


def test_names_that_yaml_takes_for_numbers_or_truth_stay_names() -> None:
    odd: dict[str, Any] = {
        "store": {"kind": "postgresql", "postgresql": {"existingSecret": "90", "key": "1"}},
        "http": {"existingSecret": "56", "tls": {"existingSecret": "7e8"}},
        "notify": {"existingSecret": "91"}, "serviceAccount": {"name": "95"},
        "fullnameOverride": "null", "nameOverride": "12", "priorityClassName": "96", "tmpSize": "1"}
    for claim in ({"existingClaim": "92"}, {"storageClass": "93"}):
        made = render(JOBS | WATCHED | NETWORK | odd | {"persistence": claim}, "on", "20260101")
        for (kind, _), item in made.items():
            assert isinstance(item["metadata"]["namespace"], str)
            if kind not in KINDS:
                kubernetes_validate.validate(item, VERSION, strict=True)
        job = yaml.safe_load(made["ConfigMap", "null"]["data"]["job.yaml"])
        assert job["metadata"]["labels"]["app.kubernetes.io/instance"] == "on"
        assert job["spec"]["serviceAccountName"] == "95"


def test_every_pod_keeps_to_the_restricted_standard(objects: Objects) -> None:
    for pod in pods(objects):
        whole = pod["securityContext"]
        assert whole["runAsNonRoot"] is True
        assert whole["runAsUser"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert all(set(volume) & {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
                   for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_the_role_reaches_leases_jobs_and_its_own_deployment_alone(objects: Objects) -> None:
    for rule in objects.get(("Role", "r-holdfast"), {}).get("rules", []):
        assert rule["resources"] in (["leases"], ["jobs"], ["deployments"])
        assert set(rule["verbs"]) <= {"get", "create", "update"}
        if rule["resources"] == ["deployments"]:
            assert (rule["verbs"], rule["resourceNames"]) == (["get"], ["r-holdfast"])


@pytest.mark.parametrize("values", MATRIX.values(), ids=list(MATRIX))
def test_the_daemon_takes_the_configuration(values: dict[str, Any], tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_STORE", "postgresql+psycopg://u:p@db/holdfast")
    data = render(values)["ConfigMap", "r-holdfast"]["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    config = load(tmp_path / "holdfast.yaml").config
    assert config.http.host == "0.0.0.0"
    assert (config.leader is not None) == ("highAvailability" in values)
    jobs = config.launch.kubernetes
    assert (jobs is not None) == ("jobs" in values)
    if isinstance(jobs, KubernetesJobs):
        assert template(jobs)["spec"]["containers"][0]["image"] == "holdfast-trainer:0.1.0"


def test_tokens_and_certificates_come_from_secrets(tmp_path: Path) -> None:
    made = render(GUARDED)
    spec = made["Deployment", "r-holdfast"]["spec"]["template"]["spec"]
    mounted = {item["mountPath"]: item["name"] for item in spec["containers"][0]["volumeMounts"]}
    held = {item["name"]: item.get("secret") for item in spec["volumes"]}
    assert held[mounted["/etc/holdfast-secrets"]] == {"secretName": "tokens"}
    assert held[mounted["/etc/holdfast-tls"]] == {"secretName": "tls"}
    (tmp_path / "holdfast.yaml").write_text(
        made["ConfigMap", "r-holdfast"]["data"]["holdfast.yaml"])
    http = load(tmp_path / "holdfast.yaml").config.http
    assert (http.port, http.public, http.tokens[0].token_file) == (
        8700, ["read"], "/etc/holdfast-secrets/scrape")
    assert http.tls is not None
    assert http.tls.client_ca == "/etc/holdfast-tls/ca.crt"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert spec["containers"][0][probe]["httpGet"]["scheme"] == "HTTPS"
    assert made["ServiceMonitor", "r-holdfast"]["spec"]["endpoints"][0]["scheme"] == "https"
    assert "secrets" not in {
        item["name"] for item in render({})["Deployment", "r-holdfast"]["spec"]["template"]["spec"][
            "volumes"]}


def test_people_are_told_by_addresses_from_a_secret(tmp_path: Path) -> None:
    made = render(TOLD)
    spec = made["Deployment", "r-holdfast"]["spec"]["template"]["spec"]
    mounted = {item["mountPath"]: item["name"] for item in spec["containers"][0]["volumeMounts"]}
    held = {item["name"]: item.get("secret") for item in spec["volumes"]}
    assert held[mounted["/etc/holdfast-notify"]] == {"secretName": "people"}
    (tmp_path / "holdfast.yaml").write_text(
        made["ConfigMap", "r-holdfast"]["data"]["holdfast.yaml"])
    notify = load(tmp_path / "holdfast.yaml").config.notify
    assert notify is not None
    assert (notify.urls_file, notify.quiet) == ("/etc/holdfast-notify/apprise", "22:00-07:00")


@pytest.mark.parametrize(("values", "base"), [
    ({}, "http://r-holdfast.ns.svc:8700/runbooks"),
    ({"http": {"tls": {"existingSecret": "tls"}}, "service": {"port": 443}},
     "https://r-holdfast.ns.svc:443/runbooks"),
    (TOLD, "https://holdfast.example.org/runbooks"), (WATCHED, "https://books.example.org")])
def test_alerts_lead_to_runbooks_that_somebody_serves(values: dict[str, Any], base: str) -> None:
    made = render(values | {"prometheusRule": {
        "enabled": True, **values.get("prometheusRule", {})}})
    found = {rule["annotations"]["runbook_url"]
             for group in made["PrometheusRule", "r-holdfast"]["spec"]["groups"]
             for rule in group["rules"]}
    assert found == {f"{base}/{file.stem}.md" for file in (CHART / "alerts").glob("*.yaml")}


def test_one_daemon_by_default_and_standbys_by_a_lease() -> None:
    alone = render({})["Deployment", "r-holdfast"]["spec"]
    assert (alone["replicas"], alone["strategy"]) == (1, {"type": "Recreate"})
    assert alone["template"]["spec"]["automountServiceAccountToken"] is False
    made = render(STANDBY)
    assert made["Deployment", "r-holdfast"]["spec"]["replicas"] == 2
    assert ("PodDisruptionBudget", "r-holdfast") in made


def test_another_configuration_is_another_pod() -> None:
    sums = {render(values)["Deployment", "r-holdfast"]["spec"]["template"]["metadata"]
            ["annotations"]["checksum/config"]
            for values in ({}, {"config": {"models": MODELS, "schedule": {"every": "2h"}}}, JOBS)}
    assert len(sums) == 3


def test_every_alert_and_dashboard_is_shipped() -> None:
    made = render(WATCHED)
    groups = made["PrometheusRule", "r-holdfast"]["spec"]["groups"]
    assert {group["name"] for group in groups} == {
        file.stem for file in (CHART / "alerts").glob("*.yaml")}
    for group in groups:
        source = (CHART / "alerts" / f"{group['name']}.yaml").read_text().replace(
            "http://127.0.0.1:8700/runbooks", "https://books.example.org")
        assert yaml.safe_load(source)["groups"] == [group]
    shipped = made["ConfigMap", "r-holdfast-dashboards"]
    assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in shipped["data"].items()} == {
        f"holdfast-{file.name}": json.loads(file.read_text())
        for file in (ROOT / "dashboards").glob("*.json")}


@pytest.mark.parametrize(("values", "words"), [
    ({"config": {"models": []}}, r"config\.models: empty"),
    ({"config": {"models": [{"policy": {"retrain": {"true": []}}}]}}, r'right would be \\?"on\\?"'),
    ({"config": {"models": [{"training": {"kind": "torch"}}]}}, "kind: torch, and the image"),
    ({"store": {"kind": "postgresql"}}, "existingSecret: absent"),
    ({"http": {"tls": {"mutual": True}}}, r"http\.tls\.mutual: true without"),
    ({"persistence": {"enabled": False}}, "would lose the store"),
    ({"highAvailability": {"enabled": True}}, "right would be postgresql"),
    ({"store": DATABASE, "highAvailability": {"enabled": True}}, "ReadWriteMany"),
    ({"notify": {"existingSecret": "a"}, "config": {"models": MODELS, "notify": {
        "urls_env": "A"}}}, "beside notify.existingSecret"),
    ({"prometheusRule": {"runbooksUrl": "books"}}, "runbooksUrl"),
    ({"replicas": 2}, "replicas"), ({"image": {"tga": "1"}}, "tga"),
    ({"store": {"kind": "mysql"}}, "store"), ({"service": {"port": 0}}, "port"),
    ({"image": {"digest": "latest"}}, "digest"), ({"jobs": {"deadline": "soon"}}, "deadline"),
    ({"config": {"models": MODELS, "store": "sqlite:///x"}}, "store")])
def test_bad_values_are_refused_in_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        render(values)


def leaves(schema: dict[str, Any], path: str = "") -> list[str]:
    """Paths of the values that the schema tells apart."""
    inner = schema.get("properties")
    if not inner or path == ".config":
        return [path]
    assert schema["additionalProperties"] is False, path
    return [leaf for key, item in inner.items() for leaf in leaves(item, f"{path}.{key}")]


def test_every_value_is_used_and_in_the_schema() -> None:
    text = (CHART / "values.yaml").read_text()
    assert len(text.splitlines()) < 250
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) == set(yaml.safe_load(text)) | {"global"}
    source = "".join(file.read_text() for file in (CHART / "templates").iterdir())
    for path in set(leaves(schema)) - {".global"}:
        assert re.search(rf"\.Values\.{path.split('.')[1]}\b", source), path
        assert re.search(rf"\.{path.split('.')[-1]}\b", source), path


def test_notes_say_what_to_do_next() -> None:
    files = helm.Chart.load(str(CHART)).render({"config": {"models": MODELS}}, name="r",
                                               namespace="ns")
    (notes,) = (text for path, text in files.items() if path.endswith("NOTES.txt"))
    assert "port-forward service/r-holdfast" in notes
    assert "Nobody is paged yet" in notes
