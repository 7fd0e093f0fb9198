"""A place to type the commands of the documents in: a folder with the README's deployment.

- `holdfast`: run, on the README's log, configuration and champion, after one tick; it has to end
  with 0. `demo` is only parsed (`tests/story/test_demo.py` runs it), `run` is stopped once it
  serves.
- `curl`, `jq`, `sqlite3`, `pg_dump`, `pg_restore`, `openssl`: run by a shell, against a daemon
  that serves the folder's store, and a real PostgreSQL.
- `make`: a dry run by make itself.
- `helm`: charts are rendered and linted by Helm's own library; releases are a stand-in.
- `docker`, `kubectl`: a strict stand-in (`cluster`). Words are parsed, and what they name has to
  be there; nothing runs in a container.
- `pip install`: extras and versions have to be those of pyproject.toml; nothing is installed.

Anything else is refused: a command that nobody can run does not belong in a document.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import click
import helm_python as helm
import httpx

from monitor.cli import main
from tests.data import ROOT
from tests.docs.cluster import Cluster, Refused
from tests.docs.fenced import Line
from tests.monitor.command import holdfast
from tests.servers import free_port

SERVED = "http://127.0.0.1:8700"
"""Where the documents expect the daemon."""
PUBLIC = "https://holdfast.example.org"
"""And where people reach it from elsewhere."""
SHELL = ("curl", "jq", "sqlite3", "pg_dump", "pg_restore", "openssl")
COMMAND = [sys.executable, "-c", "from monitor.cli import main; main()"]
PATIENCE = 30.0


@dataclass
class Place:
    """The folder, a daemon's address, and what stands for a cluster."""

    folder: Path
    daemon: str
    environment: dict[str, str]
    cluster: Cluster
    absent: set[str] = field(default_factory=set)
    """Programs that this machine lacks."""

    def type(self, line: Line) -> None:
        """Do what the line says; raises what is wrong with it."""
        for part in line.text.split(" && "):
            words = shlex.split(part)
            try:
                if "|" in words or ">" in words or words[0] in SHELL:
                    self._shell(part, words)
                else:
                    self._program(words[0])(words[1:])
            except (AssertionError, click.ClickException, OSError, helm.HelmError) as error:
                raise AssertionError(f"{line.place}: {part}\n{error}") from error

    def _program(self, name: str) -> Callable[[list[str]], None]:
        known: dict[str, Callable[[list[str]], None]] = {
            "holdfast": self._holdfast, "make": _make, "pip": _pip, "docker": self.cluster.docker,
            "helm": self.cluster.helm, "kubectl": self._kubectl}
        if name not in known:
            raise Refused(f"{name}: nobody can run this; known are {sorted({*known, *SHELL})}")
        return known[name]

    def _shell(self, part: str, words: list[str]) -> None:
        starts = [words[0], *(after for pipe, after in pairwise(words) if pipe == "|")]
        for program in starts:
            if program not in SHELL:
                raise Refused(f"{program}: no program of pipes; known are {SHELL}")
            if shutil.which(program) is None:
                self.absent.add(program)
                return
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c",
             part.replace(SERVED, self.daemon).replace(PUBLIC, self.daemon)],
            cwd=self.folder, env=os.environ | self.environment, capture_output=True, text=True,
            timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not done.stdout.startswith('{"error"'), done.stdout

    def _holdfast(self, words: list[str]) -> None:
        if words[0] == "run":
            self._served(words)
        elif words[0] == "demo":
            parsed(words)
        elif words[0].startswith("--"):  # which set the logs of the whole process
            done = subprocess.run([*COMMAND, *words], cwd=self.folder, capture_output=True,
                                  text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            said = holdfast(*words)
            assert said.code == 0, said.out + said.err

    def _served(self, words: list[str]) -> None:
        """The daemon in a process of its own, on a free port, until it serves and is stopped."""
        port, text = free_port(), (self.folder / words[1]).read_text()
        (self.folder / words[1]).write_text(f"{text}\nhttp: {{port: {port}}}\n")
        process = subprocess.Popen([*COMMAND, *words], cwd=self.folder, stderr=subprocess.PIPE,
                                   text=True)
        ends = time.monotonic() + PATIENCE
        try:
            while True:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < ends, "it does not serve"
                try:
                    assert httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False
                                     ).status_code == 200
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
            (self.folder / words[1]).write_text(text)
        assert process.returncode == 0

    def _kubectl(self, words: list[str]) -> None:
        inside = self.cluster.kubectl(words)
        if inside:
            assert inside[0] == "holdfast", inside
            assert inside[2] == "/etc/holdfast/holdfast.yaml", "where the chart puts it"
            parsed(inside[1:])


def parsed(words: list[str]) -> None:
    """Words that `holdfast` takes, whether or not the files are there."""
    name, *rest = words
    assert name in main.commands, f"holdfast {name}"  # type: ignore[attr-defined]
    command: click.Command = main.commands[name]  # type: ignore[attr-defined]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path) and parameter.type.exists:
            rest = [word for word in rest if word not in parameter.opts
                    and not re.fullmatch(r"[\w-]+\.parquet", word)]
    command.make_context(name, rest)


def _make(words: list[str]) -> None:
    done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def _pip(words: list[str]) -> None:
    assert words[0] == "install", words
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [word for word in words[1:] if not word.startswith("-")]
    assert wanted, words
    for what in wanted:
        found = re.fullmatch(r"holdfast(?:\[([a-z0-9,]+)\])?(?:==([\d.]+))?", what)
        assert found, f"{what}: not this project"
        extras = set((found[1] or "").split(",")) - {""}
        assert extras <= set(project["optional-dependencies"]), what
        assert found[2] in (None, version("holdfast")), what
