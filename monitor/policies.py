"""Policies: what `replay --policy` compares, by name or from a file with a policy's keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from monitor.config import Maturity, Model, Policy, Training, WindowConfig
from monitor.errors import ConfigError, HoldfastError
from monitor.fields import Section
from monitor.mistakes import closest, mistakes
from monitor.parsing import read
from monitor.window import format_duration, parse_duration

Keys = Mapping[str, Any]

NAMED: dict[str, tuple[str, Keys]] = {
    "current": ("the configuration as it stands", {}),
    "never": ("alarms, and never a retrain", {"policy": {"retrain": {"on": []}}}),
    "evidently": ("a retrain when Evidently's default rule finds drift", {"policy": {
        "thresholds": "evidently", "retrain": {"on": ["drifted"]}}}),
    "nannyml": ("a retrain when NannyML's default thresholds are crossed", {"policy": {
        "thresholds": "nannyml", "retrain": {"on": ["drifted"]}}}),
}
"""What each name means, in words and in keys."""

_EVERY = re.compile(r"every-(.+)")
KNOWN = (*NAMED, "every-30d")


class ReferenceMode(Section):
    """What of the reference a policy may change."""

    mode: Literal["fixed", "trailing", "same_hour_of_week", "same_season_last_year"] = "fixed"
    """Which windows a window is held against."""


class Overrides(Section):
    """A policy file: what it holds replaces the model's own keys, the others stay."""

    policy: Policy = Policy()
    """What to do about verdicts."""
    training: Training = Training()
    """How a candidate is made."""
    window: WindowConfig = WindowConfig()
    """The stretches of event time that get a verdict each."""
    maturity: Maturity = Maturity()
    """When a window has enough labels."""
    reference: ReferenceMode = ReferenceMode()
    """Which windows a window is held against."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A model under one policy; ``every`` retrains on schedule, ``changed`` names what differs."""

    name: str
    model: Model
    words: str
    changed: tuple[str, ...] = ()
    every: timedelta | None = None

    @property
    def same(self) -> bool:
        """Whether it judges as the configured model does (it may act otherwise)."""
        return all(key.startswith(("training.", "policy.retrain.", "policy.promotion",
                                   "policy.rollback", "policy.probation."))
                   for key in self.changed)


def variants(asked: Sequence[str], model: Model) -> list[Variant]:
    """The policies that were asked for; ``ConfigError`` with everything that is wrong of them."""
    found: list[Variant] = []
    wrong: list[str] = []
    for text in asked:
        try:
            made = variant(text, model)
        except ConfigError as error:
            wrong += error.mistakes
            continue
        if made.name in {item.name for item in found}:
            wrong.append(f"--policy: two are called {made.name!r}; right would be names that "
                         "differ (a file is called by its name without the ending)")
        found.append(made)
    if wrong:
        raise ConfigError(wrong)
    return found


def variant(text: str, model: Model) -> Variant:
    """The model under the policy of this name, or of this file."""
    if text in NAMED:
        words, keys = NAMED[text]
        return _overridden(text, model, keys, words=words)
    if match := _EVERY.fullmatch(text):
        return _scheduled(text, match[1], model)
    path = Path(text)
    if path.suffix not in {".yaml", ".yml"} and not path.is_file():
        raise ConfigError([f"--policy: {text!r} is neither a policy nor a file; "
                           f"{closest(text, KNOWN)} (known are {', '.join(KNOWN)}, and files with "
                           "policy: in them)"])
    return _from_file(path, model)


def _scheduled(text: str, spelled: str, model: Model) -> Variant:
    try:
        every = parse_duration(spelled)
    except HoldfastError as error:
        raise ConfigError([f"--policy: {text!r}: {error}"]) from error
    if every < model.calendar.pane:
        raise ConfigError([f"--policy: {text!r} is more often than there are windows; right would "
                           f"be at least every-{format_duration(model.calendar.pane)}"])
    made = _overridden(text, model, {"policy": {"retrain": {"on": []}}},
                       words=f"a retrain every {spelled}, whatever the evidence")
    return Variant(made.name, made.model, made.words, made.changed, every)


def _from_file(path: Path, model: Model) -> Variant:
    try:
        keys = read(path, "policy")
        Overrides.model_validate(keys)
    except ConfigError as error:
        raise ConfigError([f"--policy: {text}" for text in error.mistakes]) from error
    except ValidationError as error:
        raise ConfigError([f"--policy: {path}: {text}" for text in mistakes(
            error.errors(include_url=False), keys, Overrides)]) from error
    return _overridden(path.stem, model, keys, words=f"as {path.name} says", path=path)


def _overridden(name: str, model: Model, keys: Keys, *, words: str, path: Path | None = None
                ) -> Variant:
    """The model with these keys in place of its own."""
    if not keys:
        return Variant(name, model, words)
    plain = _merged(model.model_dump(mode="json", by_alias=True), keys)
    try:
        made = Model.model_validate(plain)
    except ValidationError as error:
        raise ConfigError([f"--policy: {path or name}: {text}" for text in mistakes(
            error.errors(include_url=False), plain, Model)]) from error
    before, after = dict(_flat(model)), dict(_flat(made))
    changed = tuple(f"{key}: {_spelled(after[key])}" for key in after
                    if after[key] != before.get(key))
    return Variant(name, made, words, changed)


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, Mapping):
        return new
    return old | {key: _merged(old.get(key), value) for key, value in new.items()}


def _flat(section: BaseModel, place: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), place + (field.alias or name)
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _spelled(value: Any) -> str:
    return format_duration(value) if isinstance(value, timedelta) else str(value)
