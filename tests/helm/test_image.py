"""The Dockerfile: what an image must not hold is not asked for, and nobody runs as root."""

from __future__ import annotations

import re

from tests.data import ROOT

TEXT = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
STAGES = {stage.split()[2]: stage for stage in re.findall(
    r"^FROM (\S+ AS \S+\n.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL)}


def test_the_daemon_is_without_torch_and_the_trainer_has_it() -> None:
    assert "torch" not in STAGES["daemon-packages"].split("RUN", 1)[1]
    assert ".[retrain" in STAGES["trainer-packages"]
    assert "--from=daemon-packages" in STAGES["daemon"]
    assert "--from=trainer-packages" in STAGES["trainer"]
    assert list(STAGES)[-1] == "daemon"


def test_nothing_is_compiled_and_nobody_is_root() -> None:
    assert not re.search(r"apt-get|gcc|build-essential", TEXT)
    assert TEXT.count("pip install") == TEXT.count("--only-binary=:all:") == 2
    assert "USER 10001:10001" in STAGES["runtime"]
    assert all("USER" not in STAGES[name] and STAGES[name].startswith("runtime")
               for name in ("daemon", "trainer"))
    assert not re.search(r"^ADD |:latest|PASSWORD|TOKEN", TEXT, re.MULTILINE)


def test_everything_that_is_copied_is_let_through() -> None:
    let = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines()
           if line.startswith("!")}
    copied = {name for words in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE)
              for name in words.split()}
    assert copied == let
    assert all((ROOT / name).exists() for name in let)
