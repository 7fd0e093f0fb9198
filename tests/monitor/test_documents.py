"""Documents: generated ones are current, examples are right, the README's commands work."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from monitor.cli import main
from monitor.config import AlarmBudget, Config, load
from monitor.documents import documents
from monitor.mistakes import section_of
from tests.data import ROOT
from tests.monitor.command import holdfast

README = (ROOT / "README.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """The words of every `holdfast …` and `make …` in shell blocks."""
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] in {"holdfast", "make"}:
                yield words


def sections(section: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield section
    for field in section.model_fields.values():
        inner = section_of(field.annotation)
        if inner not in (None, AlarmBudget):  # which is written in a line
            assert inner is not None
            yield from sections(inner)


@pytest.mark.parametrize("name", list(documents()))
def test_generated_documents_are_current(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == documents()[name], "run `make docs`"


def test_every_key_is_documented_under_itself() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    for section in sections(Config):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            assert f"| `{field.alias or name}` |" in text


@pytest.mark.parametrize("name", ["example.yaml", "minimal.yaml"])
def test_examples_are_valid(name: str) -> None:
    assert load(ROOT / "config" / name).config.models


def test_the_schema_knows_every_key_of_the_example() -> None:
    schema = json.loads((ROOT / "config" / "schema.json").read_text("utf-8"))
    example = yaml.safe_load((ROOT / "config" / "example.yaml").read_text("utf-8"))
    assert set(example) <= set(schema["properties"])
    model: dict[str, Any] = schema["$defs"]["Model"]["properties"]
    assert set(example["models"][0]) <= set(model)


def test_the_readme_names_commands_targets_and_files_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    known = set(main.commands)  # type: ignore[attr-defined]
    for words in [*commands(README), *commands(OPERATIONS)]:
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
            continue
        assert words[1] in known, words
        options = main.commands[words[1]].params  # type: ignore[attr-defined]
        spelled = {name for option in options for name in (*option.opts, *option.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= spelled, words
    for text in (README, OPERATIONS):
        folder = ROOT if text is README else ROOT / "docs"
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (folder / link).exists(), link
    assert "<!-- demo table -->" in README
    assert "<!-- /demo table -->" in README


def test_the_readme_s_configuration_and_commands_work_as_they_stand(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holdfast.yaml").write_text(blocks(README, "yaml")[0])
    script, champion = blocks(README, "python")
    exec(compile(script, "README.md", "exec"), {})
    run = [words for words in commands(README) if words[0] == "holdfast" and words[1] != "demo"]
    assert [words[1] for words in run] == ["check", "baseline", "replay", "once", "status",
                                          "replay"]
    said = holdfast(*run[0][1:])
    assert (run[0][1], said.code) == ("check", 0), said.err
    assert "sizes: watches 2 features: size, zone" in said.out
    exec(compile(champion, "README.md", "exec"), {})
    for words in run:
        said = holdfast(*words[1:])
        assert said.code == 0, (words, said.err)
        assert said.out
    assert "drifted" in said.out + holdfast("status", "holdfast.yaml").out
