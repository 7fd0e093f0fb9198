"""A pod as Kubernetes would run it, on this machine: what the chart rendered, in a root of its own.

The root is read-only but for the mounts that the pod may write to; its files are where the chart
mounts them, its user and capabilities are those of the manifest. It needs to be root, and `unshare`
with mount namespaces; the network is the machine's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.data import ROOT

BOUND = ("usr", "dev", "proc", "sys")
ETC = ("passwd", "group", "hosts", "nsswitch.conf", "ssl", "localtime", "ld.so.cache", "fonts")


def possible() -> bool:
    """Whether this machine lets a test make such a root."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None and subprocess.run(
        ["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0


@dataclass(frozen=True, slots=True)
class Pod:
    """The daemon's Deployment with the files behind its volumes."""

    manifest: Mapping[str, Any]
    folder: Path
    """Holds `etc` (the ConfigMap) and what is written: `data` and `tmp`, the pod's own."""
    secrets: Mapping[tuple[str, str], str]
    shared: Mapping[str, Path]
    """Further folders, read-only, such as the log: where they are in the pod -> here."""

    @property
    def container(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.manifest["containers"][0]
        return found

    def environment(self) -> dict[str, str]:
        """Exactly what is rendered, and what the image says."""
        told = {"PATH": f"{Path(sys.executable).parent.resolve()}:/usr/bin:/bin",
                "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "/source"}
        for item in self.container["env"]:
            ref = item.get("valueFrom", {}).get("secretKeyRef")
            told[item["name"]] = self.secrets[ref["name"], ref["key"]] if ref else item["value"]
        return told

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """`holdfast` with the rendered arguments, or others."""
        told = arguments or tuple(self.container["args"])
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                 self.script(["holdfast", *told])],
                env=self.environment(), stdout=said, stderr=said, start_new_session=True)

    def say(self, command: str) -> str:
        """What a shell says in the same place."""
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
             self.script(["sh", "-c", command])], env=self.environment(), check=False,
            capture_output=True, text=True, timeout=60).stdout

    def script(self, command: list[str]) -> str:
        """Builds the root, and becomes the container's user in it."""
        user, group = (self.manifest["securityContext"][name]
                       for name in ("runAsUser", "runAsGroup"))
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        lines = [f"mount -t tmpfs -o mode=755 root {root}", f"mkdir -p {root}/etc"]
        lines += [f"cp -rL /etc/{name} {root}/etc/ 2>/dev/null || true" for name in ETC]
        lines += [f"ln -s usr/{name} {root}/{name}" for name in ("bin", "sbin", "lib", "lib64")]
        program = Path(sys.executable).parent.resolve().parent
        readable = {f"/{name}": Path("/", name) for name in BOUND} | {
            "/source": ROOT, str(program): program, sys.base_prefix: Path(sys.base_prefix),
            **self.shared}
        for mount in self.container["volumeMounts"]:
            at, own = mount["mountPath"], self.folder / mount["name"]
            own.mkdir(exist_ok=True)
            if mount.get("readOnly"):
                readable[at] = own
            else:
                os.chown(own, user, group)
                lines.append(f"mkdir -p {root}{at}; mount --bind {own} {root}{at}")
        for at, here in readable.items():
            lines += [f"mkdir -p {root}{at}", f"mount --rbind {here} {root}{at}"]
            lines += [f"mount -o remount,bind,ro {root}{at}"] if at not in {"/dev", "/proc"} else []
        lines.append(f"mount -o remount,ro {root}")
        drop = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups",
                "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return "\n".join([*lines, f"exec /usr/sbin/chroot {root} {shlex.join([*drop, *command])}"])
