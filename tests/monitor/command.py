"""The command as a person runs it, in this process: exit code, output, errors."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from monitor.cli import main


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def holdfast(*words: object) -> Said:
    """Run ``holdfast WORDS``; a traceback, or an error that nobody foresaw, fails the test."""
    handlers, logging.root.handlers = logging.root.handlers, []
    try:
        result = CliRunner().invoke(main, [str(word) for word in words])
    finally:
        logging.root.handlers = handlers
    said = Said(result.exit_code, result.stdout, result.stderr)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    for text in (said.out, said.err):
        assert "Traceback" not in text
        assert "not foreseen" not in text, text
    return said


def configured(folder: Path, *models: dict[str, Any], **settings: Any) -> Path:
    """A configuration file in ``folder``; its MLflow is an embedded one there."""
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump({"models": list(models), "reports": False, **settings},
                                   sort_keys=False))
    return path
