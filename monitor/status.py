"""Status: what a person wants to know of every model, from stored state alone."""

from __future__ import annotations

from typing import Any

from monitor.config import Config
from monitor.secrets import redact
from monitor.store import Store
from monitor.window import isoformat


def overview(config: Config, store: Store) -> dict[str, Any]:
    """Plain values for every configured model: phase, newest verdict, what waits, troubles."""
    troubles = store.troubles()
    return {"models": [_model(model.name, store, troubles.get(model.name))
                       for model in config.models]}


def _model(name: str, store: Store, trouble: Any) -> dict[str, Any]:
    recorded = store.recorded(name)
    state = recorded.state
    newest = store.verdicts(name, segment="", newest=1)
    pending, row = store.pending(name), store.open_request(name)
    return {
        "model": name,
        "phase": state.phase,
        "since": isoformat(state.since) if state.since else None,
        "champion": state.champion,
        "challenger": state.challenger,
        "episode": state.episode,
        "judged_to": isoformat(recorded.folded_to) if recorded.folded_to else None,
        "newest": newest[0].line if newest else None,
        "pending": pending.decision.reason if pending else None,
        "request": row.request.request_id if row else None,
        "trouble": redact(trouble.message) if trouble else None,
    }


def words(report: dict[str, Any]) -> str:
    """The overview as a person reads it."""
    return "\n".join(_lines(model) for model in report["models"])


def _lines(model: dict[str, Any]) -> str:
    head = f"{model['model']}: {model['phase'].replace('_', ' ')}"
    if model["since"]:
        head += f" since {model['since']}"
    lines = [head]
    champion = model["champion"]
    lines.append(f"  champion    version {champion}" if champion else
                 "  champion    none: set alias `champion` in MLflow, or `holdfast retrain --bootstrap`")
    newest = model["newest"]
    if newest:
        lines.append(f"  newest      {newest['start'][:16]} to {newest['end'][:16]}, n={newest['n']}: "
                     f"{newest['verdict']}")
        lines.append(f"              {newest['reason']}")
        lines += [f"  performance {_performance(item)}" for item in newest["performance"]
                  if item["value"] is not None][:1]
    if model["episode"]:
        lines.append(f"  alarm       open since {model['episode'].rpartition('/')[2]}")
    if model["phase"] == "awaiting_promotion":
        lines.append(f"  waits       for a person: version {model['challenger']} is the challenger")
    for key, label in (("pending", "pending"), ("request", "request"), ("trouble", "trouble")):
        if model[key]:
            lines.append(f"  {label:<11} {model[key]}")
    return "\n".join(lines)


def _performance(item: dict[str, Any]) -> str:
    interval = (f" ({item['low']:.3f} to {item['high']:.3f})"
                if item["low"] is not None and item["high"] is not None else "")
    return f"{item['metric']} {item['value']:.3f}{interval}, {item['n']} labels"
