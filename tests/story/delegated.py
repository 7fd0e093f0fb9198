"""A daemon whose retrains are Jobs: the chart's pod from one image, its Jobs' pods from another.

The API server is the stand-in; what a kubelet does with a Job's pod is done here. MLflow and the
log are real.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from monitor.jobs import ANNOTATION
from tests.helm.test_chart import render
from tests.servers import free_port
from tests.servers.cluster import StandIn
from tests.servers.mlflow import start_mlflow, stop_mlflow
from tests.story.meanwhile import meanwhile
from tests.story.pod import Contained, Image, Pod
from tests.story.production import NAME, PORT, Log, values

PATIENCE = 600.0
KUBE = "/kube/config"


@dataclass
class Kubelet:
    """Runs each Job of the stand-in once, and says how it ended."""

    cluster: StandIn
    folder: Path
    image: Image
    shared: dict[str, Path]
    ended: dict[str, int] = field(default_factory=dict)
    said: str = ""

    def working(self) -> AbstractContextManager[None]:
        """Jobs are run, one after the other, while the block lasts."""
        return meanwhile(self._look, 0.3)

    def _look(self) -> None:
        for job in self.cluster.all("jobs"):
            if job["metadata"]["name"] not in self.ended:
                self._run(job)

    def _run(self, job: dict[str, Any]) -> None:
        name, template = job["metadata"]["name"], job["spec"]["template"]
        place = self.folder / name
        (place / "request").mkdir(parents=True)
        (place / "request" / "request.json").write_text(
            template["metadata"]["annotations"][ANNOTATION])
        for other in ("config", "kube"):
            (place / other).symlink_to(self.folder.parent / other)
        pod = Pod(template["spec"], place, {}, self.shared, self.image)
        status = pod.run(*pod.container["command"], *pod.container["args"]).wait(PATIENCE)
        self.said += (place / "said").read_text()
        kind = "Failed" if status else "Complete"
        self.cluster.put("jobs", name, job | {"status": {"conditions": [
            {"type": kind, "status": "True"}]}})
        self.ended[name] = status


def delegated(daemon: Image, trainer: Image) -> dict[str, object]:
    """From a first champion to a candidate that waits, both of Jobs; whether all went well."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jobs-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        mlflow = f"http://127.0.0.1:{free_port()}"
        (folder / "mlflow").mkdir()
        stack.callback(stop_mlflow, start_mlflow(folder / "mlflow", mlflow))
        log, cluster = Log(folder / "log"), StandIn(folder)
        stack.callback(cluster.close)
        objects = render(asked(values(log, mlflow)))
        for place, files in (("config", objects["ConfigMap", "r-holdfast"]["data"]),
                             ("kube", {"config": cluster.door().kubeconfig.read_text()})):
            (folder / place).mkdir()
            for file, text in files.items():
                (folder / place / file).write_text(text)
        deployment = objects["Deployment", "r-holdfast"]
        cluster.put("deployments", "r-holdfast", deployment)
        (folder / "jobs").mkdir()
        kubelet = Kubelet(cluster, folder / "jobs", trainer, {"/log": log.folder})
        pod = Pod(deployment["spec"]["template"]["spec"], folder, {}, {"/log": log.folder}, daemon)
        stack.enter_context(log.growing())
        stack.enter_context(kubelet.working())
        return told(pod, kubelet)


def asked(given: dict[str, Any]) -> dict[str, Any]:
    """The story's values, with the store on the volume and retrains as Jobs."""
    return given | {
        "store": {"kind": "sqlite"}, "image": {}, "jobs": {"enabled": True},
        "extraEnv": [{"name": "KUBECONFIG", "value": KUBE}],
        "extraVolumes": [{"name": "kube", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "kube", "mountPath": "/kube", "readOnly": True}]}


def told(pod: Pod, kubelet: Kubelet) -> dict[str, object]:
    """The first champion, ticks, a retrain and the end."""
    file = "/etc/holdfast/holdfast.yaml"
    first = pod.start("retrain", file, "--model", NAME, "--bootstrap", "--reason", "the first")
    assert first.wait(PATIENCE) == 0, (pod.folder / "said").read_text()[-3000:] + kubelet.said
    began = time.monotonic()
    running = pod.start()

    def until(true: Callable[[], Any]) -> Any:
        while not (found := true()):
            assert time.monotonic() - began < PATIENCE, (
                f"{get('/api/status')}: {(pod.folder / 'said').read_text()[-3000:]}{kubelet.said}")
            time.sleep(0.1)
        return found

    try:
        until(lambda: get("/healthz"))
        alive = time.monotonic() - began
        until(lambda: get("/readyz"))
        ready = time.monotonic() - began
        phase = until(lambda: "awaiting_promotion" in get("/api/status"))
        metrics = get("/metrics")
        memory, zombies = inside(running)
    finally:
        stopped = time.monotonic()
        running.terminate()
        status = running.wait(60)
    print(f"alive after {alive:.1f} s, ready after {ready:.1f} s, {memory:.0f} MB resident, ended "
          f"within {time.monotonic() - stopped:.1f} s; {len(kubelet.ended)} Jobs", flush=True)
    return {"a candidate waits": phase, "metrics tell of it": f'model="{NAME}"' in metrics,
            "Jobs ended well": set(kubelet.ended.values()) == {0},
            "no process is left behind": zombies == 0, "SIGTERM ends it well": status == 0}


def get(path: str) -> str:
    """A page of the daemon; empty where it does not answer, or answers with an error."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{PORT}{path}", timeout=10, trust_env=False)
    except httpx.HTTPError:
        return ""
    return answer.text if answer.status_code == 200 else ""


def inside(running: Contained) -> tuple[float, int]:
    """Megabytes that the first process holds, and how many dead children it has not seen to."""
    first = running.first()[0]
    memory = zombies = 0
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
        except OSError:
            continue
        if path.parent.name == str(first):
            memory = int(lines["VmRSS"].split()[0])
        zombies += int(lines["PPid"]) == first and lines["State"].strip().startswith("Z")
    return memory / 1000, zombies
