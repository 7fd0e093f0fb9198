"""The images that were built: what strangers expect of them, and the chart's pods run from them.

``make image-test`` builds both and calls this. It needs what pods need (``pod``): root, on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.data import ROOT
from tests.story.delegated import delegated
from tests.story.pod import Image, Pod, possible

COMPILERS = re.compile(r"(.*-)?(gcc|g\+\+|cc|c\+\+|clang|ld|as|make|cmake|rustc|go)(-[\d.]+)?")
PROGRAMS = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/holdfast/bin")
OWN = "opt/holdfast"


@dataclass
class Findings:
    """What was measured, and what is not as it should be."""

    name: str
    wrong: list[str] = field(default_factory=list)

    def say(self, what: str, found: object) -> None:
        print(f"{self.name:9}{what:28}{found}", flush=True)

    def hold(self, what: str, found: object, right: object) -> None:
        """``found`` has to be ``right``."""
        self.say(what, found)
        if found != right:
            self.wrong.append(f"{self.name}: {what}: {found}; right would be {right}")


@dataclass(frozen=True, slots=True)
class Engine:
    """docker, podman or buildah, with flags of its own if it needs any."""

    words: tuple[str, ...]

    def __call__(self, *words: str) -> str:
        return subprocess.run([*self.words, *words], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.strip()

    @property
    def builds_only(self) -> bool:
        return any(Path(word).name == "buildah" for word in self.words)

    def settings(self, image: str) -> dict[str, Any]:
        """What the image says of itself: User, Env, Entrypoint, Labels."""
        if self.builds_only:
            found = json.loads(self("inspect", "--type", "image", image))["OCIv1"]["config"]
        else:
            found = json.loads(self("image", "inspect", image))[0]["Config"]
        return dict(found)

    @contextmanager
    def unpacked(self, image: str) -> Iterator[Path]:
        """The image's files: where buildah mounts them, or a copy of what a container exports."""
        if self.builds_only:
            made = self("from", "--pull=never", image)
            try:
                yield Path(self("mount", made))
            finally:
                self("rm", made)
            return
        with tempfile.TemporaryDirectory(prefix="holdfast-image-") as folder:
            made = self("create", image)
            try:
                packed = shlex.join([*self.words, "export", made])
                subprocess.run(
                    ["bash", "-o", "pipefail", "-c",
                     f"{packed} | tar -C {shlex.quote(folder)} --numeric-owner -xp"], check=True)
            finally:
                self("rm", made)
            Path(folder).chmod(0o755)
            yield Path(folder)


def settings(found: Findings, told: dict[str, Any]) -> None:
    """Who runs what, and what the image says that it is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found.hold("user", told.get("User"), "10001:10001")
    found.hold("entrypoint", told.get("Entrypoint"), ["holdfast"])
    labels = told.get("Labels") or {}
    for name, right in (("version", project["version"]), ("licenses", project["license"])):
        found.hold(name, labels.get(f"org.opencontainers.image.{name}"), right)


def files(found: Findings, root: Path) -> None:
    """Sizes, and what should not be there."""
    sizes = {"all": 0, "own": 0}
    loose, theirs, setuid, stale = [], [], [], []
    for path, state in _walk(root):
        inside = str(path.relative_to(root))
        sizes["all"] += state.st_size
        sizes["own"] += state.st_size * inside.startswith(OWN)
        if state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX:
            loose.append(inside)
        if state.st_uid == 10001 and inside != "data":
            theirs.append(inside)
        if state.st_mode & (stat.S_ISUID | stat.S_ISGID) and inside.startswith(OWN):
            setuid.append(inside)
        if path.suffix == ".py" and path.parent.name in {"monitor", "retrain"}:
            stale += [inside] * (not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc")))
    found.say("size", f"{sizes['all'] / 1e6:.0f} MB unpacked, {sizes['own'] / 1e6:.0f} MB of it "
                      "beside the base image")
    for what, where in (("writable by all", loose), ("of the pod's user", theirs),
                        ("setuid, setgid", setuid), ("without bytecode", stale)):
        found.hold(what, where, [])
    tools = [name for place in PROGRAMS if (root / place).is_dir()
             for name in os.listdir(root / place) if COMPILERS.fullmatch(name)]
    found.hold("compilers", tools, [])
    found.hold("pip", [str(path.relative_to(root)) for path in root.glob(f"{OWN}/**/pip")], [])
    found.hold("of the build's secrets", [
        str(path.relative_to(root)) for path in (root / "etc/pip.conf", *root.glob("run/secrets/*"))
        if path.exists()], [])


def _walk(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder, name)
            if not path.is_symlink() and (path.is_file() or path.is_dir()):
                yield path, path.stat()


def words(found: Findings, image: Image, *, torch: bool) -> None:
    """What a container of it says, with nothing but what every pod has."""
    with tempfile.TemporaryDirectory(prefix="holdfast-pod-") as folder:
        Path(folder).chmod(0o755)
        bare = Pod({"securityContext": {"runAsUser": 10001, "runAsGroup": 10001},
                    "containers": [{"env": [], "args": ["--version"], "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"}]}]}, Path(folder), {}, {}, image)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        began = time.monotonic()
        found.hold("holdfast --version", bare.say("holdfast --version").strip().split()[-1:],
                   [project["version"]])
        found.say("took", f"{time.monotonic() - began:.1f} s")
        for name in ("check", "run", "retrain"):
            found.hold(f"holdfast {name} --help",
                       bare.say(f"holdfast {name} --help").startswith("Usage"), True)
        found.hold("torch", bare.say("python -c 'import torch' 2>/dev/null && echo there").strip(),
                   "there" if torch else "")
        found.hold("who", bare.say("id -u; id -g").split(), ["10001", "10001"])
        found.hold("may write to", bare.say(
            "for at in / /usr /opt/holdfast /etc /data /tmp; do touch $at/x 2>/dev/null && echo "
            "$at; done").split(), ["/tmp"])


def looked_at(engine: Engine, image: str, name: str, stack: ExitStack) -> tuple[Findings, Image]:
    """One image, unpacked and held against what is right; the stack throws its files away."""
    found, told = Findings(name), engine.settings(image)
    settings(found, told)
    root = stack.enter_context(engine.unpacked(image))
    files(found, root)
    made = Image(root, dict(item.split("=", 1) for item in told["Env"]))
    words(found, made, torch=name == "trainer")
    return found, made


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is right; 1, with what is not, on standard error."""
    parser = argparse.ArgumentParser(prog="python -m tests.story.image", description=__doc__)
    parser.add_argument("--engine", default="docker", help="docker, podman or buildah, with flags")
    parser.add_argument("daemon", help="the image of target daemon")
    parser.add_argument("trainer", help="the image of target trainer")
    told = parser.parse_args(arguments)
    if not possible():
        print("pods need root, on Linux, and mount namespaces", file=sys.stderr)
        return 2
    engine = Engine(tuple(shlex.split(told.engine)))
    with ExitStack() as stack:
        daemon, watching = looked_at(engine, told.daemon, "daemon", stack)
        trainer, training = looked_at(engine, told.trainer, "trainer", stack)
        for what, right in delegated(watching, training).items():
            daemon.hold(what, right, True)
    wrong = daemon.wrong + trainer.wrong
    print("\n".join(wrong), file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
