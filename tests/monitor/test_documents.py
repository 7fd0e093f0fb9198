"""Documents: generated ones are current, examples are right. tests/docs types what they show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from monitor.config import AlarmBudget, Config, load
from monitor.documents import documents
from monitor.mistakes import section_of
from tests.data import ROOT


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
