"""The Dockerfile: what an image must not hold is not asked for, and nobody runs as root."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.data import ROOT

TEXT = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
STAGES = {stage.split()[2]: stage for stage in re.findall(
    r"^FROM (\S+ AS \S+\n.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL)}


def test_the_daemon_is_without_torch_and_the_trainer_has_it() -> None:
    asked = {name: re.findall(r"needs\.py ([\w ]+) >", STAGES[f"{name}-packages"])
             for name in ("daemon", "trainer")}
    assert asked == {"daemon": ["kubernetes notify s3"],
                     "trainer": ["retrain kubernetes notify s3"]}
    assert "torch" not in STAGES["daemon-packages"]
    for name in asked:
        assert f"--from={name}-packages" in STAGES[name]
        assert "--from=program" in STAGES[name].splitlines()[2], "what changes most comes last"
    assert list(STAGES)[-1] == "daemon"


def test_nothing_is_compiled_and_nobody_is_root() -> None:
    assert not re.search(r"apt-get|gcc|build-essential", TEXT)
    assert len(re.findall(r"pip --python \S+ install --only-binary=:all: ", TEXT)) == 3
    assert len(re.findall(r"pip .*install", TEXT)) == 3
    assert "USER 10001:10001" in STAGES["runtime"]
    assert all("USER" not in STAGES[name] and STAGES[name].startswith("runtime")
               for name in ("daemon", "trainer"))
    assert not re.search(r"^ADD |:latest|PASSWORD|TOKEN", TEXT, re.MULTILINE)


def test_the_image_says_which_version_it_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', STAGES["runtime"]))
    assert labels["version"] == project["version"]
    assert labels["licenses"] == project["license"]


def test_every_folder_with_files_of_the_program_is_a_package() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    tables = tools["setuptools"]
    files = {pattern.rpartition("/")[0] for pattern in tables["package-data"]["monitor"]}
    folders = {f"monitor.{folder.replace('/', '.')}" for folder in files}
    assert folders <= set(tables["packages"]), "set-up warns at length of those that are not"


def test_everything_that_is_copied_is_let_through() -> None:
    let = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines()
           if line.startswith("!")}
    copied = {name for words in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE)
              for name in words.split()}
    assert copied == let
    assert all((ROOT / name).exists() for name in let)


def test_what_asks_an_index_takes_its_configuration_as_a_secret() -> None:
    asking = [line for line in TEXT.splitlines() if re.search(r"pip .*install", line)]
    assert len(asking) == 3
    assert all("--mount=type=secret,id=pip,target=/etc/pip.conf" in line
               and "--mount=type=secret,id=certificates " in line for line in asking)


@pytest.mark.parametrize(("there", "taken"), [
    (["buildah"], "buildah"), (["podman"], "podman"), (["buildah", "podman"], "podman"),
    (["buildah", "docker"], "docker"), ([], "")])
def test_make_builds_by_what_is_there(there: list[str], taken: str, tmp_path: Path) -> None:
    for name in ("git", "sed"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    for name in there:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    said = subprocess.run(
        [str(shutil.which("make")), "--dry-run", "image"], cwd=ROOT, check=True,
        capture_output=True, text=True, env={"PATH": str(tmp_path)}).stdout
    assert f'test -n "{taken}"' in said
