"""A pod as Kubernetes would run it, on this machine: what the chart rendered, in a root of its own.

The root is read-only but for the mounts that the pod may write to; its files are where the chart
mounts them, its user and capabilities are those of the manifest, and its process is the first one.
The root is made of this machine's programs and of the source, or of an image that was built and
unpacked. It needs to be root, and `unshare` with mount namespaces; the network is the machine's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.data import ROOT

BOUND = ("usr", "dev", "sys")
ETC = ("passwd", "group", "hosts", "nsswitch.conf", "ssl", "localtime", "ld.so.cache", "fonts")
APART = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")


def possible() -> bool:
    """Whether this machine lets a test make such a root."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None and subprocess.run(
        [*APART, "true"], check=False, capture_output=True).returncode == 0


class Contained(subprocess.Popen[bytes]):
    """A container: signals are for its first process, as a kubelet sends them."""

    def send_signal(self, sig: int) -> None:
        for child in self.first():
            os.kill(child, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def first(self) -> list[int]:
        """The process that is the first one inside, by its number out here."""
        try:
            found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [int(child) for child in found.split()]


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was built: its files unpacked, and the environment that it sets."""

    root: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod's manifest with the files behind its volumes."""

    manifest: Mapping[str, Any]
    folder: Path
    """Holds `etc` (the ConfigMap) and what is written: `data` and `tmp`, the pod's own."""
    secrets: Mapping[tuple[str, str], str]
    shared: Mapping[str, Path]
    """Further folders, read-only, such as the log: where they are in the pod -> here."""
    image: Image | None = None

    @property
    def container(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.manifest["containers"][0]
        return found

    def environment(self) -> dict[str, str]:
        """Exactly what is rendered, and what the image says."""
        told = dict(self.image.environment) if self.image else {
            "PATH": f"{Path(sys.executable).parent.resolve()}:/usr/bin:/bin",
            "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "/source"}
        for item in self.container["env"]:
            ref = item.get("valueFrom", {}).get("secretKeyRef")
            told[item["name"]] = self.secrets[ref["name"], ref["key"]] if ref else item["value"]
        return told

    def start(self, *arguments: str) -> Contained:
        """`holdfast` with the rendered arguments, or others."""
        return self.run("holdfast", *(arguments or self.container["args"]))

    def run(self, *command: str) -> Contained:
        """Any command, in the pod's place."""
        with (self.folder / "said").open("ab") as said:
            return Contained([*APART, "sh", "-ec", self.script(command)], env=self.environment(),
                             stdout=said, stderr=said, start_new_session=True)

    def say(self, command: str) -> str:
        """What a shell says in the same place."""
        return subprocess.run(
            [*APART, "sh", "-ec", self.script(("sh", "-c", command))], env=self.environment(),
            check=False, capture_output=True, text=True, timeout=60).stdout

    def script(self, command: Sequence[str]) -> str:
        """Builds the root, and becomes the container's user in it."""
        user, group = (self.manifest["securityContext"][name]
                       for name in ("runAsUser", "runAsGroup"))
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        lines, readable = self._unpacked(root) if self.image else self._own(root)
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
            lines += [f"mount -o remount,bind,ro {root}{at}"] if at != "/dev" else []
        lines += [f"mkdir -p {root}/proc", f"mount -t proc proc {root}/proc",
                  f"mount -o remount,bind,ro {root}"]
        drop = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups",
                "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return "\n".join([*lines, f"exec /usr/sbin/chroot {root} {shlex.join([*drop, *command])}"])

    def _unpacked(self, root: Path) -> tuple[list[str], dict[str, Path]]:
        """The image's files, and the few that a kubelet lays over them."""
        assert self.image
        return [f"mount --bind {self.image.root} {root}"], {
            "/dev": Path("/dev"), "/sys": Path("/sys"), **self.shared}

    def _own(self, root: Path) -> tuple[list[str], dict[str, Path]]:
        """A root of this machine's programs, its Python and the source."""
        lines = [f"mount -t tmpfs -o mode=755 root {root}", f"mkdir -p {root}/etc"]
        lines += [f"cp -rL /etc/{name} {root}/etc/ 2>/dev/null || true" for name in ETC]
        lines += [f"ln -s usr/{name} {root}/{name}" for name in ("bin", "sbin", "lib", "lib64")]
        program = Path(sys.executable).parent.resolve().parent
        return lines, {f"/{name}": Path("/", name) for name in BOUND} | {
            "/source": ROOT, str(program): program, sys.base_prefix: Path(sys.base_prefix),
            **self.shared}
