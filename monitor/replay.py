"""Replay: the same tick over history, on scratch copies, changing nothing anywhere."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from monitor import decide
from monitor.config import Loaded, Model
from monitor.deps import Deps
from monitor.errors import ConfigError, HoldfastError
from monitor.follow import baseline_of, move
from monitor.reference import mapping_key, sealed
from monitor.registry import Registry
from monitor.source import Source
from monitor.store import Adoption, Store
from monitor.watch import watch
from monitor.window import isoformat


def replay(loaded: Loaded, start: datetime, end: datetime, *, name: str | None = None,
           act: bool = False) -> Iterator[dict[str, Any]]:
    """Verdict lines of ``[start, end]`` in the order of the fold, model by model.

    Versions are adopted when the configured store says that they were; a model that was never
    watched is judged by its present champion all along.
    """
    if start >= end:
        raise ConfigError([f"--from: {isoformat(start)} is not before --to, {isoformat(end)}; "
                           "right would be an earlier --from"])
    models = [loaded.config.model(name)] if name else list(loaded.config.models)
    with tempfile.TemporaryDirectory(prefix="holdfast-replay-") as folder:
        if act:
            from monitor.rehearsal import rehearse

            for model in models:
                yield from rehearse(model, loaded, Path(folder) / model.name, start, end)
            return
        with Store.open(f"sqlite:///{folder}/replay.db") as scratch:
            deps = Deps(loaded.config, str(loaded.path), scratch, Registry(loaded.config.mlflow),
                        None, None)
            for model in models:
                with deps.source(model) as source:
                    _relive(model, source, deps, start, end)
                yield from (row.line for row in scratch.verdicts(model.name))


def _relive(model: Model, source: Source, deps: Deps, start: datetime, end: datetime) -> None:
    """Adopt and watch in the order in which it happened, or would have."""
    for adoption in adoptions_of(model, source, deps, start):
        at = max(adoption.at, start)
        if at > end:
            break
        watch(model, source, deps.store, at)
        deps.store.adopt(model.name, adoption.version, at, key=adoption.key)
        move(model, deps.store, at, f"adopted version {adoption.version}",
             partial(decide.adopted, version=adoption.version, at=at, model=model))
    watch(model, source, deps.store, end)


def adoptions_of(model: Model, source: Source, deps: Deps, start: datetime) -> list[Adoption]:
    """Adoptions that matter from ``start`` on, their baselines copied to the scratch store."""
    past = _configured(model, deps)
    before = [item for item in past if item.at <= start][-1:]
    relevant = before + [item for item in past if item.at > start]
    if relevant and all(item.key.startswith(mapping_key(model)) for item in relevant
                        if item.version):
        return relevant
    champion = deps.registry.champion(model.registered)
    if champion is None:
        raise HoldfastError(f"{model.name}: {model.registered!r} has no alias `champion`, so there "
                            "is nothing to judge against")
    baseline = baseline_of(champion, model, source, deps)
    if baseline is None:
        raise HoldfastError(f"{model.name}: the log does not hold a whole reference yet")
    key = sealed(model, baseline)
    deps.store.save_baseline(model.name, champion.version, key, baseline.to_json())
    return [Adoption(champion.version, key, start)]


def _configured(model: Model, deps: Deps) -> list[Adoption]:
    """What the configured store remembers, copied read-only; nothing where there is none yet."""
    url = deps.config.store
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return []
    with Store.open(url) as store:
        adoptions = store.adoptions(model.name)
        for said in store.acknowledgements(model.name):
            deps.store.acknowledge(model.name, said)
        for item in adoptions:
            stored = item.version and store.baseline(model.name, item.version, item.key)
            if item.version and stored:
                deps.store.save_baseline(model.name, item.version, *stored)
    return adoptions


def tell(loaded: Loaded, model: Model, span: tuple[datetime, datetime], *, act: bool,
         as_json: bool) -> None:
    """Print what ``replay`` gives of one model; notes go to standard error."""
    from monitor.rehearsal import left_out

    told = 0
    if act and (missing := left_out(model)):
        click.echo(f"{model.name}: {missing}", err=True)
    for line in replay(loaded, *span, name=model.name, act=act):
        if not told and line["arrival"] == "assumed":
            click.echo(f"{model.name}: arrival: assumed, as log.ingested_at is absent", err=True)
        click.echo(json.dumps(line) if as_json else words(line))
        told += 1
    if not told:
        click.echo(f"{model.name}: no window fell due between --from and --to while it had a "
                   "champion", err=True)


def words(line: dict[str, Any]) -> str:
    """A verdict line as a person reads it."""
    segment = f" [{line['segment']}]" if line["segment"] else ""
    text = (f"{line['start'][:16]} {line['model']}{segment} r{line['revision']}: "
            f"{line['verdict']}, n={line['n']}, {line['phase']}")
    if line["verdict"] != "stable":
        text += f": {line['reason']}"
    action = line["decision"]["action"]
    return text + ("" if action == "none" else f" -> {action}")
