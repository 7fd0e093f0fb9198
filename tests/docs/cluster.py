"""A stand-in for a cluster and a registry of images: docker, helm and kubectl, strictly read.

Charts are rendered by Helm itself (its library). What is asked of the cluster has to be there:
a namespace, a Secret that the rendered chart names, an image that was pushed, a release, an
object that the release made. Nothing runs in a container.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import helm_python as helm
import yaml

from tests.data import ROOT

Objects = dict[tuple[str, str], dict[str, Any]]


class Refused(AssertionError):
    """The words are not what the program takes, or what they name is not there."""


class Words(argparse.ArgumentParser):
    """A command's words; one that is not known is refused."""

    def __init__(self, program: str) -> None:
        super().__init__(prog=program, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{self.prog}: {message}")


@dataclass
class Cluster:
    """What is there."""

    folder: Path
    built: set[str] = field(default_factory=set)
    pushed: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=lambda: {"default", "kube-system"})
    secrets: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    releases: dict[tuple[str, str], list[Objects]] = field(default_factory=dict)

    def docker(self, words: list[str]) -> None:
        asked = Words("docker")
        asked.add_argument("what", choices=["build", "push"])
        asked.add_argument("place")
        asked.add_argument("--target")
        asked.add_argument("-t", "--tag")
        told = asked.parse_args(words)
        if told.what == "push":
            self.pushed.add(_there(told.place, self.built, "an image that was built"))
            return
        stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(),
                            re.MULTILINE)
        _there(told.target, stages, "a target of the Dockerfile")
        assert (self.folder / told.place / "Dockerfile").is_file(), words
        self.built.add(told.tag)

    def helm(self, words: list[str]) -> None:
        asked = Words("helm")
        asked.add_argument("what", choices=["install", "upgrade", "rollback", "test", "lint",
                                            "history", "get"])
        asked.add_argument("rest", nargs="+")
        asked.add_argument("-n", "--namespace", default="default")
        asked.add_argument("-f", "--values", action="append", default=[])
        told = asked.parse_args(words)
        if told.what == "lint":
            assert not helm.lint(str(self.folder / told.rest[0]),
                                 values=self._values(told.values))["errors"]
            return
        *kind, name = told.rest if told.what == "get" else told.rest[:1]
        key = _there(told.namespace, self.namespaces, "a namespace"), name
        if told.what != "install":
            _there(key, self.releases, "a release")
        history = self.releases.setdefault(key, [])
        if told.what in {"install", "upgrade"}:
            assert bool(history) == (told.what == "upgrade"), words
            history.append(self._rendered(key, told.rest[1], told.values))
        elif told.what == "rollback":
            history.append(history[int(told.rest[1]) - 1])
        elif told.what == "test":
            assert any("helm.sh/hook" in item["metadata"].get("annotations", {})
                       for item in history[-1].values()), "the chart has no test"
        else:
            assert kind in ([], ["values"], ["manifest"], ["notes"]), words

    def _values(self, files: list[str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for file in files:
            values |= yaml.safe_load((self.folder / file).read_text())
        return values

    def _rendered(self, key: tuple[str, str], chart: str, files: list[str]) -> Objects:
        texts = helm.Chart.load(str(self.folder / chart)).render(
            self._values(files), name=key[1], namespace=key[0])
        objects = {(item["kind"].lower(), item["metadata"]["name"]): item
                   for path, text in texts.items() if path.endswith(".yaml")
                   for item in yaml.safe_load_all(text) if item}
        for item in objects.values():
            for image in re.findall(r"'image': '([^']+)'", str(item)):
                _there(image, self.pushed, "an image that was pushed")
            for secret, entry in re.findall(
                    r"'secretKeyRef': {'name': '([^']+)', 'key': '([^']+)'}", str(item)):
                _there(entry, self.secrets.get((key[0], secret), {}), f"a key of Secret {secret}")
            for secret in re.findall(r"'secretName': '([^']+)'", str(item)):
                _there((key[0], secret), self.secrets, "a Secret")
        return objects

    def kubectl(self, words: list[str]) -> list[str]:
        """What runs inside of a pod, if anything does."""
        words, inside = _parted(words)
        asked = Words("kubectl")
        asked.add_argument("-n", "--namespace", default="default")
        asked.add_argument("what", choices=["create", "get", "describe", "logs", "rollout", "scale",
                                            "exec", "port-forward"])
        told, rest = asked.parse_known_args(words)
        namespace: str = told.namespace
        if told.what == "create":
            self._create(namespace, rest)
            return []
        _there(namespace, self.namespaces, "a namespace")
        self._about(namespace, told.what, rest)
        assert bool(inside) == (told.what == "exec"), words
        return inside

    def _create(self, namespace: str, words: list[str]) -> None:
        if words[0] == "namespace":
            assert len(words) == 2
            assert words[1] not in self.namespaces
            self.namespaces.add(words[1])
            return
        asked = Words("kubectl create secret")
        asked.add_argument("kind", choices=["secret"])
        asked.add_argument("type", choices=["generic"])
        asked.add_argument("name")
        asked.add_argument("--from-literal", action="append", default=[])
        asked.add_argument("--from-file", action="append", default=[])
        told = asked.parse_args(words)
        _there(namespace, self.namespaces, "a namespace")
        given = [item.partition("=") for item in told.from_literal]
        for entry, _, file in (item.partition("=") for item in told.from_file):
            assert (self.folder / (file or entry)).is_file(), file
            given.append((entry, "=", file))
        assert given
        assert all(value for _, _, value in given), words
        self.secrets[namespace, told.name] = {entry: value for entry, _, value in given}

    def _about(self, namespace: str, what: str, words: list[str]) -> None:
        """Objects are named as KIND/NAME, and have to come from a release."""
        asked = Words(f"kubectl {what}")
        if what == "rollout":
            asked.add_argument("how", choices=["status", "restart", "history"])
        asked.add_argument("objects", nargs="+")
        if what == "scale":
            asked.add_argument("--replicas", type=int, required=True)
        if what == "logs":
            asked.add_argument("--since")
            asked.add_argument("--previous", action="store_true")
            asked.add_argument("--tail", type=int)
        told = asked.parse_args(words)
        ports = [item for item in told.objects if re.fullmatch(r"\d+:\d+", item)]
        made = {key: item for (where, _), history in self.releases.items() if where == namespace
                for key, item in history[-1].items()}
        for name in told.objects:
            if name in ports or name in {"pods", "jobs", "events", "leases"}:
                assert (what == "port-forward") == (name in ports), words
                continue
            kind, _, single = name.partition("/")
            kind = {"deploy": "deployment", "svc": "service", "cm": "configmap"}.get(kind, kind)
            item = _there((kind, single), made, "an object of a release") and made[kind, single]
            for port in ports:
                assert int(port.partition(":")[2]) in {
                    entry["port"] for entry in item["spec"]["ports"]}, words


def _there(what: Any, among: Any, kind: str) -> Any:
    if what not in among:
        raise Refused(f"{what}: {kind} is needed; there are {sorted(map(str, among))}")
    return what


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before and after ``--``."""
    if "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]
