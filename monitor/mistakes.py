"""Mistakes: what is wrong in a configuration file, in the file's own words."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, get_args

from pydantic import BaseModel

from monitor.window import format_duration

Place = tuple[int | str, ...]

_RIGHT = {
    "string_type": "text",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "list_type": "a list",
    "tuple_type": "a pair",
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_pattern_mismatch": "text that matches {pattern}",
}


def mistakes(errors: Iterable[Any], raw: Any, section: type[BaseModel]) -> list[str]:
    """One line per place of what pydantic found: where, what stands there, what would be right."""
    said: dict[str, list[str]] = {}
    for error in errors:
        place = _place(error["loc"], raw, missing=error["type"] in {"missing", "extra_forbidden"})
        head, right = _words(error, place, section)
        said.setdefault(head, [])
        if right and right not in said[head]:
            said[head].append(right)
    return [head + (f"; right would be {' or '.join(rights)}" if rights else "")
            for head, rights in said.items()]


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, alone or in a list; None when it holds a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (section_of(argument) for argument in get_args(annotation))
    return next((section for section in found if section is not None), None)


def closest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence that says which name was meant, or which there are."""
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "right would be one of " + ", ".join(known[:20]) + (", …" if len(known) > 20 else "")


def _place(loc: Place, raw: Any, *, missing: bool) -> Place:
    """The place in the file: without the names of alternatives that pydantic puts in between."""
    place: list[int | str] = []
    for index, part in enumerate(loc):
        if _holds(raw, part):
            raw = raw[part]
        elif not (missing and index == len(loc) - 1):
            continue
        place.append(part)
    return tuple(place)


def _holds(raw: Any, part: int | str) -> bool:
    if isinstance(raw, list):
        return isinstance(part, int) and part < len(raw)
    return isinstance(raw, dict) and part in raw


def _words(error: Any, place: Place, section: type[BaseModel]) -> tuple[str, str]:
    where, kind = _spelled(place), error["type"]
    if kind == "extra_forbidden":
        return f"{where}: unknown key; {closest(str(place[-1]), _keys(place, section))}", ""
    if kind == "missing":
        return f"{where}: absent, and there is no default", ""
    if kind == "value_error":
        message = error["msg"].removeprefix("Value error, ")
        deeper = re.match(r"[a-z][a-z_./\[\]0-9]*: ", message)
        return (f"{where}.{message}".lstrip(".") if deeper else f"{where}: {message}"), ""
    right = _RIGHT[kind].format_map(error.get("ctx", {})) if kind in _RIGHT else error["msg"]
    if kind == "string_type" and isinstance(error["input"], bool | int | float):
        right = f'text, in quotes: "{json.dumps(error["input"])}"'
    return f"{where or 'the file'}: {_shown(error['input'])}", right


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, timedelta):
        return repr(format_duration(value))
    return repr(value)


def _spelled(place: Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}"
                   for part in place).lstrip(".")


def _keys(place: Place, section: type[BaseModel]) -> list[str]:
    """The keys that exist where the last part of ``place`` stands."""
    for part in place[:-1]:
        for name, field in section.model_fields.items():
            if part in (name, field.alias):
                section = section_of(field.annotation) or section
    return [field.alias or name for name, field in section.model_fields.items()]
