"""Card: what a candidate is and how it did, for the person who decides about its promotion.

``card`` is the whole record; ``described`` is what MLflow shows on the page of the version, with
links that stay within MLflow and one that leads to holdfast's own page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

MOST = 5000
"""Characters that MLflow takes as a description."""
GAP = "\u00a0\u00a0"
"""MLflow draws tables without any space between columns; these blanks are kept."""
PICTURE, WHOLE = "holdfast/decision.png", "holdfast/card.md"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the candidate's run is in MLflow, and where people find holdfast ('' where unknown)."""

    experiment: str
    run_id: str
    page: str = ""
    report: str = ""
    """The report among the run's artifacts; '' where there is none."""

    def shown(self, path: str) -> str:
        """MLflow's own page of an artifact, wherever its server is reached."""
        return f"#/experiments/{self.experiment}/runs/{self.run_id}/artifacts/{path}"

    def raw(self, path: str) -> str:
        """The artifact itself, for a picture on one of MLflow's pages."""
        return f"get-artifact?path={quote(path, safe='')}&run_uuid={self.run_id}"


def described(result: Mapping[str, Any], place: Place, *, decide: str = "") -> str:
    """The description of the version; ``decide`` says what a person may do about it."""
    links = [f"[holdfast's page of this model]({place.page})"] if place.page else []
    links += [f"[report of what moved]({place.shown(place.report)})"] if place.report else []
    links.append(f"[whole card]({place.shown(WHOLE)})")
    parts = [f"**{_opening(result)}**", decide, f"Asked for because: {_short(_asked_for(result))}.",
             " · ".join(links), "\n".join(beside(result)),
             f"![candidate and champion on the holdout]({place.raw(PICTURE)})", _made(result)]
    told = ""
    for part in filter(None, parts):
        told += f"{part}\n\n" if len(told) + len(part) + 2 <= MOST else ""
    return told.strip()


def _opening(result: Mapping[str, Any]) -> str:
    """The verdict of the gate on one line that may stand in bold."""
    return _short(str(result["reason"]).replace("*", ""))


def _short(text: str) -> str:
    """One line, and not all of what would leave no room for the rest."""
    line = " ".join(text.split())
    return line if len(line) <= 1200 else f"{line[:1199]}…"


def beside(result: Mapping[str, Any]) -> list[str]:
    """The candidate and everybody else on the same holdout, side by side, as a Markdown table."""
    everybody = ["candidate", *(name for name in result["holdout"] if name != "candidate")]
    entries = [result["holdout"].get(name, {}) for name in everybody]
    champion = result["parent"]
    head = [f"newest {entries[0].get('n', '')} labelled rows",
            *(f"{name} (champion)" if name == champion else name for name in everybody)]
    metrics = [result["metric"], *(name for name in entries[0].get("quality", ())
                                   if name != result["metric"])]
    rows = [[metric, *(_spread(entry.get("quality", {}).get(metric, {})) for entry in entries)]
            for metric in metrics]
    rows.append(["size", *(_bytes(entry.get("size_bytes")) for entry in entries)])
    rows += [[f"CPU for a batch of {batch}",
              *(_seconds(entry.get("latency", {}).get(batch)) for entry in entries)]
             for batch in entries[0].get("latency", ())]
    return table([cell + GAP for cell in head], [[cell + GAP for cell in row] for row in rows])


def _spread(entry: Mapping[str, Any]) -> str:
    value = _number(entry.get("value"))
    if entry.get("value") is None or entry.get("low") is None:
        return value
    return f"{value} ({_number(entry['low'])} to {_number(entry['high'])})"


def _bytes(size: float | None) -> str:
    if size is None:
        return "unknown"
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:g} bytes"


def _seconds(value: float | None) -> str:
    return "not measured" if value is None else f"{value * 1000:.3g} ms"


def card(result: Mapping[str, Any]) -> str:
    """Markdown of a job's result: why, on which rows, against whom, how small and how fast."""
    lines = [
        f"# {result['model']}: candidate of request {result['request_id']}",
        "", result["reason"], "",
        f"Asked for because: {_asked_for(result)}.", "", *_made(result).splitlines(), "",
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


def _asked_for(result: Mapping[str, Any]) -> str:
    return str(result["asked"] or "no reason was given")


def _made(result: Mapping[str, Any]) -> str:
    """Of which rows and how."""
    rows = result["rows"]
    return (f"Made from {result['parent'] or 'scratch'} on labelled rows of "
            f"{' to '.join(result['window'])} ({rows['train']} to train on, {rows['validation']} "
            f"to choose on, {rows['holdout']} for the gate), content "
            f"{result['content_hash'][:12]}, known at {result['known_at']}.\n\n"
            f"What was done: {result['what']}. {result['choice']}")


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
    lines = ([cell.replace("|", "\\|") for cell in row] for row in (head, *rows))
    first, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return [first, f"|{' --- |' * len(head)}", *rest]
