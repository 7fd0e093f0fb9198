"""Documents that are generated from the code: the configuration's schema and reference page.

``python -m monitor.documents`` writes them; ``--check`` fails when they are not current.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from monitor.conditions import Size
from monitor.config import AlarmBudget, Config
from monitor.logs import EVENTS
from monitor.mistakes import section_of
from monitor.window import format_duration

ROOT = Path(__file__).resolve().parents[1]

INTRODUCTION = """# Configuration

Generated from `monitor/config.py`, `mapping.py`, `policy.py`, `conditions.py`,
`deployment.py` and `surface.py`; `make docs` writes it anew. Relative files are relative to the
folder of the configuration file. Secrets come from the environment or from files: write
`${env:NAME}` or `${file:PATH}` in any value.
`holdfast check CONFIG` names every mistake at once.
"""


LOGS = """# Logs

Generated from `monitor/logs.py`; `make docs` writes it anew. `holdfast run` and retrains write one
line per event on standard error: JSON for programs, or words on a terminal (`log` in the
configuration, `--log-format`, `--log-level`, `--verbose`). Every line has `timestamp`, `level` and
`event`; `model`, `version`, `window` (start/end), `revision` and `request_id` wherever they apply
(the id of a retrain or scoring; in lines about an answer over HTTP that of the question);
lines of a tick also have `tick`, and with traces `trace_id` and `span_id`. Lines of other libraries
name their `logger`. Secrets are masked in every value. Verdicts of calm windows, `counted` and
`tick` are `debug`; whatever else is no warning and no error is `info`.

| event | says |
|---|---|
"""


def documents() -> dict[str, str]:
    """File (relative to the repository) -> its text."""
    schema = Config.model_json_schema()
    schema["title"] = "holdfast"
    return {
        "config/schema.json": json.dumps(schema, indent=2) + "\n",
        "docs/logs.md": LOGS + "".join(f"| `{name}` | {text} |\n" for name, text in EVENTS.items()),
        "docs/configuration.md": INTRODUCTION + "\n" + "\n".join(_section("", Config)) + "\n",
    }


def _section(path: str, section: type[BaseModel]) -> Iterator[str]:
    """A table of the section's keys, then the sections below it."""
    yield f"## {path or 'The file'}\n"
    if section.__doc__:
        yield section.__doc__.strip() + "\n"
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    below: list[tuple[str, type[BaseModel]]] = []
    for name, field in section.model_fields.items():
        key = field.alias or name
        inner = section_of(field.annotation)
        if inner is not None and inner is not AlarmBudget:
            below.append((f"{path}.{key}".lstrip("."), inner))
        meaning = " ".join((field.description or "").split())
        yield f"| `{key}` | {_kind(field.annotation)} | {_default(field)} | {meaning} |"
    yield ""
    for place, inner in below:
        yield from _section(place, inner)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is AlarmBudget:
        return "`N per DURATION`"
    if annotation == Size:
        return "bytes or `200KB`"
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in arguments if part is not type(None))
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is tuple:
        return "[from, to]"
    if origin is dict:
        return "mapping"
    if annotation is timedelta:
        return "duration"
    if section_of(annotation) is not None:
        return "section"
    names = {"str": "text", "int": "whole number", "float": "number", "datetime": "time",
             "bool": "true or false"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, AlarmBudget):
        return f"`{value.alarms:g} per {format_duration(value.per)}`"
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    text = json.dumps(value) if isinstance(value, (list, dict)) else str(value)
    return f"`{text}`"


@click.command()
@click.option("--check", is_flag=True, help="Fail when a document is not current.")
def main(check: bool) -> None:
    """Write the generated documents."""
    stale = [name for name, text in documents().items()
             if not (ROOT / name).exists() or (ROOT / name).read_text("utf-8") != text]
    if check:
        for name in stale:
            click.echo(f"{name} is not current; run `make docs`", err=True)
        sys.exit(1 if stale else 0)
    for name, text in documents().items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
