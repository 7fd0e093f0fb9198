"""What the documents show beside commands: configurations, values, messages, links, pictures."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from monitor import parsing
from monitor.cli import main
from monitor.config import Config, Model, load
from tests.data import ROOT
from tests.docs.fenced import PAGES, Block, blocks, read, spoken
from tests.docs.place import parsed
from tests.helm.test_chart import render
from tests.monitor.command import holdfast
from tests.servers import need

LANGUAGES = {"sh", "yaml", "json", "python", "dockerfile", ""}
VALUES = {"values.yaml", "retrains.yaml"}
"""Files for Helm."""
SHOWN = [block for page in PAGES for block in blocks(page)]
LEAST: dict[str, Any] = {"name": "least", "log": {
    "source": "l", "timestamp": "at", "prediction": "p", "label": "truth", "id": "id"}}


def of(language: str) -> list[Any]:
    return [pytest.param(block, id=block.place) for block in SHOWN if block.language == language]


def test_every_block_says_what_it_is_in() -> None:
    for block in SHOWN:
        assert block.language in LANGUAGES, block.place
        typed = re.search(r"^\$? ?(holdfast|helm|kubectl|docker|make|pip|curl) ", block.text,
                          re.MULTILINE)
        assert block.language == "sh" or not typed, f"{block.place}: a command in no `sh` block"


@pytest.mark.parametrize("block", of("yaml"))
def test_a_configuration_is_one(block: Block, tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(block.text)
    shown = yaml.safe_load(block.text) if block.file in VALUES else parsing.read(
        tmp_path / "shown.yaml")
    keys = set(shown)
    if block.file in VALUES:
        assert render(shown)
    elif keys <= {"scrape_configs", "receivers"}:
        _known_to_prometheus(shown, tmp_path)
    elif "models" in keys:
        _taken(shown, tmp_path)
    elif keys <= set(Config.model_fields):
        _taken({"models": [LEAST], **shown}, tmp_path)
    else:
        assert keys <= set(Model.model_fields), block.place
        log = LEAST["log"] | shown.get("log", {})
        _taken({"models": [{**LEAST, **shown, "log": log}]}, tmp_path)


def _taken(settings: dict[str, Any], folder: Path) -> None:
    (folder / "holdfast.yaml").write_text(json.dumps(settings, default=str))
    assert load(folder / "holdfast.yaml").config.models


def _known_to_prometheus(settings: dict[str, Any], folder: Path) -> None:
    tool, words = (("promtool", ["check", "config", "--syntax-only"])
                   if "scrape_configs" in settings else ("amtool", ["check-config"]))
    need(shutil.which(tool), f"no {tool} on PATH")
    if "receivers" in settings:
        settings = {"route": {"receiver": settings["receivers"][0]["name"]}, **settings}
    (folder / "shown.yml").write_text(yaml.safe_dump(settings))
    done = subprocess.run([tool, *words, str(folder / "shown.yml")], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", of("json"))
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page: str) -> None:
    text = read(page)
    for link, anchor in re.findall(r"\]\(([^)#:\s]*)#?([^):\s]*)\)", text):
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor and target.suffix == ".md":
            headings = {re.sub(r"[^a-z0-9 -]", "", name.lower()).replace(" ", "-")
                        for name in re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)}
            assert anchor in headings, f"{page}: {link}#{anchor}"
    for words in re.findall(r"!\[([^\]]*)\]", text):
        assert len(words) > 20, f"{page}: a picture needs words for who cannot see it"


@pytest.mark.parametrize("page", [*PAGES, "docs/story.md", "docs/statistics.md",
                                  "docs/benchmarks.md", "CONTRIBUTING.md"])
def test_commands_in_the_text_have_words_that_exist(page: str) -> None:
    for words in spoken(page, "holdfast"):
        name, *rest = words.split()[1:]
        if name.startswith("-"):
            continue
        assert name in main.commands, f"{page}: {words}"  # type: ignore[attr-defined]
        known = {option for parameter in main.commands[name].params  # type: ignore[attr-defined]
                 if isinstance(parameter, click.Option)
                 for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("--")} <= known, f"{page}: {words}"


@cache
def texts() -> frozenset[str]:
    """Every constant piece of text in the code, and in what the chart refuses with."""
    found = {node.value for package in ("monitor", "retrain")
             for file in (ROOT / package).glob("*.py")
             for node in ast.walk(ast.parse(file.read_text("utf-8")))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return frozenset(found | {(ROOT / "helm/templates/_helpers.tpl").read_text("utf-8")})


def messages() -> list[str]:
    """What the tables under "it says" quote in their first column, and the upgrade's quotation."""
    tables = re.findall(r"^\| it says \|.*?\n\n", read("docs/troubleshooting.md") + "\n",
                        re.DOTALL | re.MULTILINE)
    found = [double or single for table in tables for row in table.strip().splitlines()[2:]
             for double, single in re.findall(r"``(.+?) ``|`([^`]+)`", row.split(" | ")[0])]
    assert len(found) > 25
    return found + re.findall(r'"(the store is at [^"]+)"', read("docs/upgrade.md").replace(
        "\n", " "))


@pytest.mark.parametrize("message", messages())
def test_a_message_is_one_of_the_code_s(message: str) -> None:
    for piece in re.split("…|; ", message):
        words = piece.strip(" :")
        assert not words or any(words in text for text in texts()), words


TYPED = {
    "none.yaml": (None, "cannot be read: "), "bad.yaml": ("[1, 2", "is not YAML: "),
    "log.yaml": ("\xff\x00", "is not text; right would be YAML in UTF-8")}


@pytest.mark.parametrize("name", TYPED)
def test_a_wrong_file_is_told_as_the_document_says(name: str, tmp_path: Path) -> None:
    content, words = TYPED[name]
    if content is not None:
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    said = holdfast("check", tmp_path / name)
    assert said.code == 2
    assert words in said.err
    assert words in read("docs/troubleshooting.md")


def test_the_readme_lists_every_command_and_none_else() -> None:
    table = read("README.md").split("## Commands")[1].split("\n## ")[0]
    listed = {name.split()[0]: name for name in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)}
    assert set(listed) == set(main.commands)  # type: ignore[attr-defined]
    for name in listed:
        has = any("--json" in option.opts
                  for option in main.commands[name].params)  # type: ignore[attr-defined]
        assert has == (name not in {"run", "password"}), name


def test_the_five_commands_are_five() -> None:
    section = read("README.md").split("## On Kubernetes")[1].split("\n## ")[0]
    (typed,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert len(typed.strip().splitlines()) == 5
    assert "<!-- demo table -->" in read("README.md")
    assert "<!-- /demo table -->" in read("README.md")


def test_words_are_parsed_as_they_are_run() -> None:
    parsed(["retrain", "holdfast.yaml", "--model", "sizes", "--bootstrap"])
    with pytest.raises(click.NoSuchOption):
        parsed(["retrain", "holdfast.yaml", "--modell", "sizes"])
