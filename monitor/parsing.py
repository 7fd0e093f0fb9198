"""Parsing: a YAML file -> a mapping, or what is wrong with it and where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from monitor.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans (1.2): ``on`` is a key here."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read(path: Path, key: str = "models") -> dict[str, Any]:
    """The mapping that a YAML file holds, such as one with ``key``; else ``ConfigError``."""
    try:
        raw = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not text; right would be YAML in UTF-8"]) from error
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: is not YAML: {_at(error)}"]) from error
    if not isinstance(raw, dict):
        raise ConfigError([f"{path}: holds no mapping; it must start with keys such as `{key}:`"])
    return raw


def _at(error: yaml.YAMLError) -> str:
    """What the parser met, and where."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return problem + (f" in line {mark.line + 1}, column {mark.column + 1}" if mark else "")
