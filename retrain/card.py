"""Card: what a candidate is and how it did, for the person who decides about its promotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def card(result: Mapping[str, Any]) -> str:
    """Markdown of a job's result: why, on which rows, against whom, how small and how fast."""
    window = " to ".join(result["window"])
    rows = result["rows"]
    lines = [
        f"# {result['model']}: candidate of request {result['request_id']}",
        "", result["reason"], "",
        f"Asked for because: {result['asked'] or 'no reason was given'}.", "",
        f"Made from {result['parent'] or 'scratch'} on labelled rows of {window} "
        f"({rows['train']} to train on, {rows['validation']} to choose on, {rows['holdout']} for "
        f"the gate), content {result['content_hash'][:12]}, known at {result['known_at']}.", "",
        f"What was done: {result['what']}. {result['choice']}", "",
        "## Actions tried, cheapest first", "",
        *table(["action", "result", "gain on validation", "gain on the holdout", "CPU seconds"],
                [[entry["rung"], entry["result"], _number(entry["validation_gain"]),
                  _number(entry["holdout_gain"]), _number(entry["cpu_seconds"])]
                 for entry in result["ladder"]]), "",
        f"## On the newest holdout ({result['metric']})", "",
        *table(["version", "value", "interval", "rows"], [_quality(name, entry)
                for name, entry in result["holdout"].items()]), "",
        *_verdict(result.get("gate", ())),
        "## Compression, measured on validation", "",
        *table(["point", result["metric"], "bytes", "batch 1 (ms)", "batch 256 (ms)"],
                [_point(name, entry) for name, entry in result["points"].items()]), ""]
    if result["not_run"]:
        lines += ["## Versions that could not be run", "",
                  *(f"- {name}: {why}" for name, why in result["not_run"].items()), ""]
    return "\n".join(lines)


def _verdict(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the gate asked, one line each; differences are positive where the candidate is worse."""
    if not rows:
        return []
    head = ["asked", "against", "metric", "value", "other", "worse by", "interval", "blocks",
            "allowed", "passed"]
    return ["## What the gate asked", "", *table(head, [_asked(row) for row in rows]), ""]


def _asked(row: Mapping[str, Any]) -> list[str]:
    where = f"{row['role']} {row['where']}".strip()
    level = row["level"]
    blocks = f"{row['blocks']} of {row['block']}" if row["blocks"] else ""
    interval = f"{_number(row['low'])} to {_number(row['high'])}"
    return [where, row["against"], row["metric"], _number(row["value"]), _number(row["other"]),
            _number(row["difference"]), f"{interval} ({level:.4g})" if level else "–", blocks,
            _number(row["allowed"]),
            ("yes" if row["passed"] else "no") if row["judged"] else f"not judged: {row['note']}"]


def _quality(name: str, entry: Mapping[str, Any]) -> list[str]:
    return [name, _number(entry.get("value")),
            f"{_number(entry.get('low'))} to {_number(entry.get('high'))}", str(entry.get("n", ""))]


def _point(name: str, entry: Mapping[str, Any]) -> list[str]:
    latency = entry.get("latency", {})
    return [name, _number(entry.get("value")), str(entry.get("size_bytes", "")),
            *(_number(latency[batch] * 1000) if batch in latency else "" for batch in ("1", "256"))]


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (list(head), ["---"] * len(head), *rows)]
